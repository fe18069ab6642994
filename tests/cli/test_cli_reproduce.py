"""`kbench reproduce`: lists, runs, resumes, and says what is wrong in one line."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quick-recal"], "unknown experiment 'quick-recal'; did you mean 'quick-recall'"),
        (["quick-recall", "--all"], "give names or --all, not both"),
        (["quick-recall", "--seeds", "0"], "--seeds is a number of seeds, at least 1"),
        (["quick-recall", "--workers", "0"], "--workers is a number of processes, at least 1"),
        (["quick-recall", "--model", "deltanett"], "did you mean 'deltanet'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(tmp_path, arguments, said, kbench_here):
    done = kbench_here("reproduce", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and said in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_name_it_lists_them(tmp_path, kbench_here):
    done = kbench_here("reproduce", cwd=tmp_path)
    assert done.returncode == 0
    assert "csp-parity" in done.stdout and "grazzi-arithmetic" in done.stdout


def test_it_shows_published_beside_here_and_trains_nothing_twice(tmp_path, kbench_here):
    options = ["quick-recall", "--seeds", "1", "--workers", "1", "--store", "kept"]
    first = kbench_here("reproduce", *options, cwd=tmp_path)
    again = kbench_here("reproduce", *options, cwd=tmp_path)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert first.stderr.count("deltanet seed 1: success") == 1 and again.stderr == ""
    assert first.stdout == again.stdout
    assert "1.000 (± 0.05)" in first.stdout and " yes " in first.stdout
