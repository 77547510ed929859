// The load of the benchmarks: standard library only, so that it builds without a network.
module watchkeeper.test/load

go 1.26.0
