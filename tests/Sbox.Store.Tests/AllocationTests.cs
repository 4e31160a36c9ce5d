using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>
/// What one more small file costs in managed memory, on every thread together. Times depend on the machine; these do not. Nothing else may
/// run in the process meanwhile.
/// </summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public sealed class AllocationTests
{
    private const int Few = 500;
    private const int Many = 2500;

    [Fact]
    public void A_file_that_is_committed_costs_few_kilobytes() => Assert.InRange(PerFile(static (_, _) => { }, Commit), 0, 6000);

    [Fact]
    public void A_file_that_was_committed_before_costs_less() => Assert.InRange(PerFile(Commit, Commit), 0, 5000);

    [Fact]
    public void A_file_that_is_checked_costs_little() => Assert.InRange(PerFile(Commit, static (repository, _) => Assert.Empty(repository.Fsck().Problems)), 0, 4000);

    [Fact]
    public void A_file_that_is_hardlinked_out_costs_little() =>
        Assert.InRange(PerFile(Commit, static (repository, scratch) => CheckOut(repository, scratch, new CheckoutOptions())), 0, 2000);

    [Fact]
    public void A_file_that_is_copied_out_costs_little() =>
        Assert.InRange(PerFile(Commit, static (repository, scratch) => CheckOut(repository, scratch, new CheckoutOptions { ForceCopy = true })), 0, 3000);

    private static void Commit(Repository repository, Scratch scratch) => repository.CommitDirectory(scratch["files"], new CommitOptions { Branches = ["main"] });

    private static void CheckOut(Repository repository, Scratch scratch, CheckoutOptions options)
    {
        using Dir root = Dir.Open(scratch.Root);
        repository.Checkout(repository.Resolve("main"), root, "out", options);
    }

    // The difference between many files and few: what a run costs by itself falls out.
    private static long PerFile(Action<Repository, Scratch> before, Action<Repository, Scratch> measured)
    {
        Measure(before, measured, 10);
        return (Measure(before, measured, Many) - Measure(before, measured, Few)) / (Many - Few);
    }

    private static long Measure(Action<Repository, Scratch> before, Action<Repository, Scratch> measured, int files)
    {
        using var scratch = new Scratch();
        for (int i = 0; i < files; i++)
        {
            string directory = scratch[$"files/directory-{i % 50}"];
            Directory.CreateDirectory(directory);
            File.WriteAllText(Path.Combine(directory, $"a-file-of-some-name-{i}"), $"content {i}\n");
        }

        using Repository repository = Repository.Create(scratch["repository"], RepositoryMode.Bare);
        before(repository, scratch);
        long start = GC.GetTotalAllocatedBytes(precise: true);
        measured(repository, scratch);
        return GC.GetTotalAllocatedBytes(precise: true) - start;
    }
}
