using Sbox.Judges;

namespace Sbox.Conformance.Tests;

/// <summary>What passed once must pass for ever: baseline.txt names libostree's tests that are whole with our program.</summary>
public sealed class BaselineTests
{
    private static readonly string[] Lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "baseline.txt"));

    private static string[] Names => [.. Lines.Where(static line => line.Length > 0 && line[0] != '#')];

    public static TheoryData<string> Baseline => [.. Names];

    [Theory, Trait("Category", "Slow"), MemberData(nameof(Baseline))]
    public void Libostrees_own_test_passes_with_our_program(string name)
    {
        Outcome outcome = new InstalledTest(name).Run(OurProgram());
        Assert.True(outcome.IsWhole, $"{name}: exit status {outcome.ExitCode}, {outcome}\n{outcome.Log}");
    }

    [Fact]
    public void The_baseline_names_tests_of_the_suite_that_the_judges_have()
    {
        Assert.NotEmpty(Names);
        Assert.Equal(Names.Distinct().Order(StringComparer.Ordinal), Names);
        Assert.Empty(Names.Except(Suite.All.SelectMany(static item => item.Tests)));
        Assert.All(Names, static name => Assert.True(new InstalledTest(name).Exists, name));
    }

    [Theory]
    [InlineData("1..2\nok a\nok b\n", 0, true, "2 of 2")]
    [InlineData("1..2\nok a\n", 1, false, "1 of 2")]
    [InlineData("1..2\nok a\n", 0, false, "1 of 2")]
    [InlineData("ok a\n1..1\n", 0, true, "1 of 1")]
    [InlineData("1..2\nok a\nok b | # SKIP no GPG\n", 0, true, "2 of 2, 1 of them skipped")]
    [InlineData("1..0 # SKIP no SELinux\n", 0, false, "skips itself: no SELinux")]
    public void A_test_counts_as_passed_when_it_ran_and_all_its_checks_did(string output, int exitCode, bool isWhole, string words)
    {
        Outcome outcome = InstalledTest.Judge(exitCode, output, "", 0);
        Assert.Equal(isWhole, outcome.IsWhole);
        Assert.Equal(words, outcome.ToString());
    }

    private static string OurProgram()
    {
        string program = SourceTree.Of("out", "sbox");
        return File.Exists(program) ? program : throw new InvalidOperationException($"{program} is not built; ./build makes it");
    }
}
