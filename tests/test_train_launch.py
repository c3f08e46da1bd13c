"""What the environment says of how a process was started, and of those it was started with."""

from __future__ import annotations

import re

import pytest

from resnetc.diagnostics import UsageError
from resnetc.train.launch import Launch, first_host, launched, leads

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "10.0.0.7",
    "MASTER_PORT": "29500",
}
ALLOCATION = {
    "SLURM_JOB_ID": "200505",
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "gpu[07-08,12]",
}
"""What the shells of sbatch and salloc see: one process, whatever was allocated."""
SRUN = {
    **ALLOCATION,
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "gpu[08,12]",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
}


def test_torchrun_says_who_we_are() -> None:
    assert launched(TORCHRUN) == Launch(3, 8, 1, "10.0.0.7", 29500)
    assert not leads(TORCHRUN)
    assert leads(TORCHRUN | {"RANK": "0"})


def test_srun_says_who_we_are_and_the_first_host_of_the_step_is_the_meeting_place() -> None:
    assert launched(SRUN) == Launch(9, 16, 1, "gpu08", 10_000 + (200_505 + 2 * 97) % 20_000)
    whole_job = {k: v for k, v in SRUN.items() if k != "SLURM_STEP_NODELIST"}
    assert launched(whole_job) == Launch(9, 16, 1, "gpu07", 10_699)
    assert not leads(SRUN)


def test_what_is_set_by_hand_goes_before_what_slurm_says() -> None:
    by_hand = {"MASTER_ADDR": "head", "MASTER_PORT": "4000", "WORLD_SIZE": "16"}
    assert launched(SRUN | by_hand) == Launch(9, 16, 1, "head", 4000)
    assert launched(SRUN | TORCHRUN) == launched(TORCHRUN)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        ALLOCATION,
        SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        SRUN | {"RANK": "0", "WORLD_SIZE": "1"},
    ],
    ids=["plain", "a size alone", "torchrun of one", "salloc", "srun --pty", "each task by itself"],
)
def test_one_process_is_alone(environ: dict[str, str]) -> None:
    assert launched(environ) is None
    assert leads(environ)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4 but RANK is not set"),
        ({"RANK": "0"}, "RANK is set but WORLD_SIZE is not"),
        ({**TORCHRUN, "RANK": "8"}, "RANK is 8, but WORLD_SIZE is 8: processes count from 0"),
        ({**TORCHRUN, "RANK": "one"}, "RANK is `one`; it must be a whole number from 0"),
        ({**TORCHRUN, "RANK": "-1"}, "RANK is `-1`"),
        ({**TORCHRUN, "WORLD_SIZE": "0"}, "WORLD_SIZE is `0`; it must be a whole number from 1"),
        ({**TORCHRUN, "MASTER_PORT": "70000"}, "ports go up to 65535"),
        ({**SRUN, "WORLD_SIZE": "8"}, "WORLD_SIZE is 8, but srun started 16 tasks"),
        ({**SRUN, "SLURM_PROCID": "16"}, "SLURM_PROCID is 16, but SLURM_STEP_NUM_TASKS is 16"),
        ({**SRUN, "SLURM_STEP_NODELIST": "gpu[x]"}, "gpu[x]` is no list of SLURM's hosts"),
    ],
)
def test_what_contradicts_itself_is_said(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        launched(environ)


@pytest.mark.parametrize("name", ["LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_what_torchrun_sets_is_asked_for(name: str) -> None:
    environ = {k: v for k, v in TORCHRUN.items() if k != name}
    with pytest.raises(UsageError, match=f"is set but {name} is not"):
        launched(environ)


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"])
def test_what_srun_sets_is_asked_for(name: str) -> None:
    environ = {k: v for k, v in SRUN.items() if k != name}
    with pytest.raises(UsageError, match=f"SLURM_STEP_NUM_TASKS is set but {name} is not"):
        launched(environ)


def test_a_step_without_hosts_is_said() -> None:
    environ = {k: v for k, v in SRUN.items() if not k.endswith("NODELIST")}
    with pytest.raises(UsageError, match="say with MASTER_ADDR where process 0 runs"):
        launched(environ)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[001-016]", "gpu001"),
        ("gpu[10,20,25,37]", "gpu10"),
        ("a-b[3-5,9]-ib.cluster,login", "a-b3-ib.cluster"),
        ("rack[1-2]n[01-16],rack3n01", "rack1n01"),
    ],
)
def test_the_first_of_slurms_hosts(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.parametrize("hosts", ["", "gpu[", "gpu[]", "gpu[1-]", "gpu 1", ",gpu1", "gpu[1]]"])
def test_what_is_no_list_of_hosts(hosts: str) -> None:
    with pytest.raises(UsageError, match="is no list of SLURM's hosts"):
        first_host(hosts)
