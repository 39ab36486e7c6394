from fmnist_edge_export.cpu import Cpu, parse, this_cpu

X86 = """processor\t: 0
model name\t: Some CPU 9000
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Some CPU 9000
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni
"""


def test_an_x86_with_vnni():
    assert parse(X86) == Cpu("Some CPU 9000", ("avx2", "avx512f", "avx512_vnni"), int8=True)


def test_an_x86_without_vnni():
    assert parse(X86.replace("avx512_vnni", "avx512bw")) == Cpu("Some CPU 9000", ("avx2", "avx512f"), int8=False)


def test_an_arm_has_features_and_no_name():
    cpu = parse("processor\t: 0\nFeatures\t: fp asimd crc32 asimddp\n")
    assert (cpu.instructions, cpu.int8) == (("asimd", "asimddp"), True)


def test_a_system_that_does_not_tell():
    assert parse("").int8 is None


def test_this_machine_has_a_cpu():
    assert this_cpu().name
