// Machines under emulation take all the processor there is; two at once would time each other out.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
