"""Which class runs which name: registration, names for Ruby, and two classes of one name."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from both_clients import app

from sidekiq_lua import Job, Sidekiq, sidekiq
from sidekiq_lua.errors import ConfigurationError, DuplicateJobClass, UnknownJobClass


def make(app: Sidekiq, name: str, module: str = __name__, **body: Any) -> Any:
    return type(name, (app.Job,), {"perform": lambda self: None, "__module__": module, **body})


def test_defining_a_class_registers_it(app: Sidekiq) -> None:
    assert len(app.registry) == 0
    charge, refund = make(app, "ChargeJob"), make(app, "RefundJob")

    assert app.registry.get("ChargeJob") is charge
    assert app.registry.find("RefundJob") is refund
    assert list(app.registry) == [charge, refund]


def test_an_abstract_class_is_not_registered_but_its_heirs_are(app: Sidekiq) -> None:
    class Base(app.Job):
        abstract = True

    class HeirJob(Base):
        def perform(self): ...

    assert list(app.registry) == [HeirJob]


def test_a_name_for_ruby(app: Sidekiq) -> None:
    charge = make(app, "ChargeJob", sidekiq_class="Billing::ChargeJob")

    class HeirJob(charge):
        def perform(self): ...

    assert app.registry.get("Billing::ChargeJob") is charge
    assert app.registry.find("ChargeJob") is None
    # A class names itself only: two of one name would be an error.
    assert HeirJob.sidekiq_name() == "HeirJob"
    assert app.registry.get("HeirJob") is HeirJob


def test_a_second_class_of_one_name_raises_when_it_is_defined(app: Sidekiq) -> None:
    first = make(app, "ChargeJob")
    with pytest.raises(DuplicateJobClass) as caught:
        make(app, "ChargeJob", module="other.jobs")
    assert str(caught.value) == (
        f"other.jobs.ChargeJob and {__name__}.ChargeJob are both called 'ChargeJob': give one of them "
        'sidekiq_class = "…", or abstract = True if it is only a base class'
    )
    assert isinstance(caught.value, ConfigurationError)
    assert app.registry.get("ChargeJob") is first

    with pytest.raises(DuplicateJobClass, match="are both called 'ChargeJob'"):
        make(app, "OtherJob", sidekiq_class="ChargeJob")
    make(app, "ChargeJob", module="other.jobs", sidekiq_class="Other::ChargeJob")


@pytest.mark.parametrize("modules", [("__main__", "shop.jobs"), ("shop.jobs", "__main__")])
def test_a_module_that_is_run_and_imported_as_well(app: Sidekiq, modules: tuple[str, str]) -> None:
    """`python shop/jobs.py`, which imports what imports shop.jobs: one class, made twice."""
    make(app, "ChargeJob", module=modules[0])
    with pytest.raises(DuplicateJobClass) as caught:
        make(app, "ChargeJob", module=modules[1])
    assert str(caught.value) == (
        f"{modules[1]}.ChargeJob and {modules[0]}.ChargeJob are both called 'ChargeJob': give one of them "
        'sidekiq_class = "…", or abstract = True if it is only a base class; if they are one, '
        "its file is run and imported too: move the job to a module that is only imported"
    )


def test_a_module_may_be_reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reloaded_jobs.py").write_text(
        "from sidekiq_lua import Job\nclass ReloadedJob(Job):\n    def perform(self): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reloaded_jobs", raising=False)
    module = importlib.import_module("reloaded_jobs")
    first = module.ReloadedJob
    importlib.reload(module)

    assert module.ReloadedJob is not first
    assert sidekiq.registry.get("ReloadedJob") is module.ReloadedJob


def test_an_unknown_name(app: Sidekiq) -> None:
    make(app, "ChargeJob")
    assert app.registry.find("ChargedJob") is None
    with pytest.raises(UnknownJobClass) as caught:
        app.registry.get("ChargedJob")
    assert str(caught.value) == (
        "no job class 'ChargedJob' is registered in this process; did you mean 'ChargeJob'? "
        "(a worker runs the classes that its -r modules define)"
    )
    with pytest.raises(UnknownJobClass, match=r"'os\.system' is registered in this process \(a worker"):
        app.registry.get("os.system")


def test_which_instance_a_class_belongs_to(app: Sidekiq) -> None:
    class DefaultsJob(Job):
        def perform(self): ...

    class OursJob(app.Job):
        def perform(self): ...

    class TypedJob(app.Job[[int, str]]):
        def perform(self, a: int, b: str) -> None: ...

    class ChosenJob(Job[[int]], app=app):
        def perform(self, a: int) -> None: ...

    assert set(app.registry) == {OursJob, TypedJob, ChosenJob}
    assert sidekiq.registry.find("DefaultsJob") is DefaultsJob
    assert {sidekiq.registry.find(name) for name in ("OursJob", "TypedJob", "ChosenJob")} == {None}
    assert app.Job is app.Job


def test_register_job_is_for_classes_defined_elsewhere(app: Sidekiq) -> None:
    other = Sidekiq()

    @other.register_job
    class GuestJob(app.Job):
        def perform(self): ...

    assert other.registry.get("GuestJob") is app.registry.get("GuestJob") is GuestJob
    with pytest.raises(DuplicateJobClass):
        other.register_job(make(Sidekiq(), "GuestJob", module="elsewhere"))
