"""The table of contents: every task, in the order of a release's life. `invoke --list` says what each one does."""

from invoke import Collection

from scripts.tasks import canary, cluster, environment, images, measuring, models, printing, serving, store, versions

printing.watch()

namespace = Collection(
    # This machine.
    environment.check_env,
    # From a source to a version.
    models.package_model,
    models.lint_repository,
    models.generate_input,
    # A server that answers, here or, for the smoke test, wherever one is.
    serving.serve,
    serving.smoke_test,
    measuring.tune_gpu,
    # Versions in production, without a restart.
    store.create_store,
    store.publish_model,
    versions.versions,
    measuring.compare,
    canary.canary,
    versions.promote,
    versions.rollback,
    # The container image.
    images.build_image,
    images.create_repository,
    images.push_triton,
    images.push_chart,
    # A release in a cluster.
    cluster.deploy_triton,
    cluster.status,
    cluster.destroy_triton,
)
