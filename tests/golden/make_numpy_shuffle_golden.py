"""Prints NumPy's legacy shuffles for tests/data/numpy_random_test.cpp: seed, size, shuffled arange, next shuffle of 5."""
import numpy

for seed, size in ((0, 10), (1234, 17), (1, 2), (42, 33), (4294967295, 9)):
    state = numpy.random.RandomState(seed)
    first, second = numpy.arange(size), numpy.arange(5)
    state.shuffle(first)
    state.shuffle(second)
    print(f"{{{seed}u, {{{', '.join(map(str, first))}}}, {{{', '.join(map(str, second))}}}}},")
large = numpy.arange(300000)
numpy.random.RandomState(2024).shuffle(large)
print("seed 2024, 300000 values, first and last four:", large[:4], large[-4:])
