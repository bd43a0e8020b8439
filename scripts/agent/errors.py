"""What the agent and the store refuse, with a message for a person."""


class AgentError(Exception):
    """Something cannot be done; the message says what and why."""


class PlanError(AgentError):
    """A text is no serving plan."""


class OutdatedPlanError(PlanError):
    """A plan is older than the one that is followed."""


class StoreError(AgentError):
    """The store cannot be read or written, or holds something damaged."""


class TakenError(StoreError):
    """The store holds other bytes under that version's number."""


class LoadError(AgentError):
    """Triton does not load a version."""
