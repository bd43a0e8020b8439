"""Push this project's chart to an OCI registry: signed if there is a key, and a version that is there never changes."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import attrs

from scripts.cluster.chart_archive import Packed, Signing, contents
from scripts.cluster.helm import Helm
from scripts.cluster.release.chart import CHART
from scripts.host import temporary
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import Settings, is_loopback
from scripts.host.shell import Command, Completed, Runner
from scripts.registry import aws, ecr
from scripts.registry.ecr import USER, ImageRepository
from scripts.registry.reference import Reference

Progress = Callable[[str], None]
_TIMEOUT_S = 120.0
_TEMPORARY = Path("TEMPORARY")
# Where a chart may go: `helm push` adds its name.
_REGISTRY = re.compile(r"(?:oci://)?([A-Za-z0-9][\w.-]*(?::\d{1,5})?(?:/[a-z0-9][a-z0-9._-]*)*)/?")

# What Helm says, in lower case, and what to do about it; the first that fits counts.
_MEANINGS: Sequence[tuple[str, str]] = (
    (
        r"passphrase|password for key|private key checksum",
        "the key needs its passphrase. Name a file that holds it: CHART_PASSPHRASE_FILE or --passphrase-file",
    ),
    (
        r"private key not found|not a private key|openpgp: |\.gpg: no such file|keyring",
        "the keyring cannot be used. Helm wants the old format of GnuPG, with the secret key in it: "
        "gpg --export-secret-keys NAME > keyring.gpg (not --armor), and CHART_KEY a part of the key's name",
    ),
    (
        r"tag invalid|immutable|cannot be overwritten",
        "somebody else has just pushed this version, and a version is never changed. Run the task again: it compares "
        "the two",
    ),
    (
        r"basic credential not found|unauthorized|\b401\b|no basic auth",
        "the registry does not take the login. For ECR run the task again, for another registry log in first: "
        "helm registry login HOST",
    ),
    (
        r"not authorized to perform|denied|forbidden|\b403\b",
        "the registry does not allow it. This identity needs the policy for pushing charts in docs/aws.md",
    ),
    (
        r"name unknown|repository .*does not exist|not found",
        "there is no such repository. Create it once: invoke create-repository --chart",
    ),
    (
        r"dial tcp|no such host|timeout|connection re(?:set|fused)|broken pipe|\beof\b|network is unreachable",
        "the registry cannot be reached. Check the network and its address, and run the task again",
    ),
)


@attrs.frozen(kw_only=True)
class PushedChart:
    """A version of the chart that the registry has.

    Attributes:
        reference: Its name there.
        signed: Whether it is signed.
        untouched: Whether the registry had it before, so that nothing was pushed.
    """

    reference: Reference
    signed: bool
    untouched: bool = False

    @property
    def summary(self) -> str:
        """What was done, in a line."""
        how = "signed" if self.signed else "not signed"
        if self.untouched:
            return f"{self.reference.by_tag} was there already with the same content, {how}: nothing was sent"
        return f"Pushed {self.reference.by_tag}, {how}"

    @property
    def use(self) -> str:
        """The command that gets it, and checks it if it is signed."""
        verifying = " --verify --keyring PUBLIC_KEYS.gpg" if self.signed else ""
        version = str(self.reference.tag).replace("_", "+")
        return f"helm pull oci://{self.reference.repository} --version {version}{verifying}"


@attrs.frozen(kw_only=True)
class ChartPush:
    """A push of the chart; build it with `of`.

    Attributes:
        chart: The chart.
        target: The repository that takes it, without ``oci://``: its last part is the chart's name.
        repository: The same as a repository whose login AWS gives; None where Helm's own login counts.
        signing: The key to sign with; None for none.
        settings: Who calls AWS.
        runner: Runs Helm.
    """

    chart: Packed
    target: Reference
    repository: ImageRepository | None
    signing: Signing | None
    settings: Settings
    runner: Runner

    @classmethod
    def of(
        cls, settings: Settings, *, chart: Packed, registry: str = "", signing: Signing | None, runner: Runner
    ) -> Self:
        """Say where the chart goes: below *registry*, ``oci://HOST/PREFIX``, or below the settings' ECR repository.

        Raises:
            TaskFailure: If *registry* is no such address, or the settings do not name a repository.
        """
        if not registry:
            region = aws.open_access(settings).region
            repository = ImageRepository.from_settings(settings, region=region).below(chart.name)
            return cls(
                chart=chart, target=repository.image(tag=chart.tag), repository=repository, signing=signing,
                settings=settings, runner=runner,
            )  # fmt: skip
        if (named := _REGISTRY.fullmatch(registry)) is None:
            raise TaskFailure(f"--registry takes oci://HOST or oci://HOST/PREFIX, not {registry!r}.")
        target = Reference(repository=f"{named[1]}/{chart.name}", tag=chart.tag)
        return cls(
            chart=chart, target=target, repository=ImageRepository.of(target, settings), signing=signing,
            settings=settings, runner=runner,
        )  # fmt: skip

    def plan(self) -> list[str]:
        """Return the commands that `push` would run, asking nobody and sending nothing."""
        login = [self._login(_TEMPORARY, Secret(""))] if self.repository else []
        steps = (*login, self._package(_TEMPORARY), self._pull(_TEMPORARY), self._send(_TEMPORARY))
        return [str(command) for command in steps]

    def push(self, *, progress: Progress) -> PushedChart:
        """Package the chart and push it, unless the registry has this version with the same content already.

        Raises:
            TaskFailure: If the registry has the version with other content, or without the signature that is asked for;
                or if anything is missing or refused. The message says what to do.
        """
        Helm(self.runner, namespace="").version()
        with self._logged_in(progress) as folder:
            self._run(self._package(folder), doing="package the chart")
            made = folder / self.chart.file
            progress(f"Packaged {self.chart.name} {self.chart.version}{', signed' if self.signing else ''}")
            if (there := self._there(folder)) is not None:
                return self._same(there, made)
            progress(f"Pushing {self.target}")
            done = self._run(self._send(folder), doing=f"push {self.target}")
        digest = re.search(r"Digest: (sha256:[0-9a-f]{64})", done.output + done.errors)
        return PushedChart(
            reference=attrs.evolve(self.target, digest=digest[1] if digest else None), signed=self.signing is not None
        )

    def _there(self, folder: Path) -> Path | None:
        """Return the archive of this version that the registry has; None for none."""
        (folder / "there").mkdir()
        done = self.runner.capture(self._pull(folder), timeout_s=_TIMEOUT_S)
        if done.status == 0:
            return folder / "there" / self.chart.file
        # A repository that is not there either is found missing by the push.
        if re.search(r": not found\s*$", done.errors):
            return None
        raise _failed(done, doing=f"look for {self.target}")

    def _same(self, there: Path, made: Path) -> PushedChart:
        """Return the push that *there* makes needless, or refuse where it is something else than *made*."""
        if contents(there) != contents(made):
            raise TaskFailure(
                f"{self.target} is there already with other content, and a version is never changed. Nothing was "
                f"pushed. Raise `version` in {CHART}/Chart.yaml."
            )
        signed = there.with_name(f"{there.name}.prov").exists()
        if self.signing and not signed:
            raise TaskFailure(
                f"{self.target} is there already, not signed, and a version is never changed. Nothing was pushed. "
                f"Raise `version` in {CHART}/Chart.yaml to have it signed."
            )
        return PushedChart(reference=self.target, signed=signed, untouched=True)

    @contextlib.contextmanager
    def _logged_in(self, progress: Progress) -> Iterator[Path]:
        """Give a folder of our own, with a login in it where AWS gives one; afterwards nothing of it is left."""
        password = self._password(progress)
        with temporary.folder("chart") as folder:
            if password is not None:
                # Helm writes the password into a file that names a registry already. Where none does, it gives it to
                # the desktop's own store of passwords, and there it would stay.
                known = json.dumps({"auths": {self.target.host: {}}})
                (folder / "config.json").write_text(known, encoding="utf-8")
                self._run(self._login(folder, password), doing=f"log in to {self.target.host}")
            yield folder

    def _password(self, progress: Progress) -> Secret | None:
        if self.repository is None:
            return None
        access = aws.open_access(self.settings)
        identity = ecr.check_scope(access, self.repository)
        progress(f"AWS account {identity.account}, as {identity.arn} ({access.credentials})")
        ecr.check_exists(access, self.repository)
        password = ecr.token(access)
        aws.hush([password])
        return password

    def _run(self, command: Command, *, doing: str) -> Completed:
        done = self.runner.capture(command, timeout_s=_TIMEOUT_S)
        if done.status:
            raise _failed(done, doing=doing)
        return done

    def _package(self, folder: Path) -> Command:
        signing = self.signing.options if self.signing else ()
        return Command(("helm", "package", str(self.chart.folder), f"--destination={folder}", *signing))

    def _login(self, folder: Path, password: Secret) -> Command:
        arguments = ("helm", "registry", "login", "--username", USER, "--password-stdin", self.target.host)
        return Command((*arguments, *self._plain), env=self._environment(folder), stdin=password)

    def _pull(self, folder: Path) -> Command:
        wanted = (f"oci://{self.target.repository}", f"--version={self.chart.version}", "--prov")
        return Command(
            ("helm", "pull", *wanted, f"--destination={folder / 'there'}", *self._plain),
            env=self._environment(folder),
        )

    def _send(self, folder: Path) -> Command:
        above = self.target.repository.rpartition("/")[0]
        return Command(
            ("helm", "push", str(folder / self.chart.file), f"oci://{above}", *self._plain),
            env=self._environment(folder),
        )

    @property
    def _plain(self) -> tuple[str, ...]:
        """Without TLS only on this machine."""
        return ("--plain-http",) if is_loopback(self.target.host.partition(":")[0]) else ()

    def _environment(self, folder: Path) -> Mapping[str, str]:
        return {"HELM_REGISTRY_CONFIG": str(folder / "config.json")} if self.repository else {}


def _failed(done: Completed, *, doing: str) -> TaskFailure:
    """Return the failure that says why a command of Helm failed, and what to do."""
    # The question for a passphrase goes to standard output.
    said = f"{done.output}\n{done.errors}"
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["Helm said nothing."]
    meaning = next((to_do for sign, to_do in _MEANINGS if re.search(sign, said.lower())), "")
    return TaskFailure(f"Cannot {doing}: {f'{meaning}.' if meaning else 'Helm says why.'}\n  {lines[-1]}")
