using Sbox.Judges;

namespace Sbox.Image.Tests;

public sealed class DemoTests : IDisposable
{
    private readonly TempDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void The_demo_says_at_once_that_it_is_for_amd64_only()
    {
        Directory.CreateDirectory(directory.Of("bin"));
        Script.Write(directory.Of("bin/uname"), "echo aarch64");
        Verdict said = Judge.OnPath("env").Ask($"PATH={directory.Of("bin")}:/usr/bin:/bin", SourceTree.Of("demo"), "--tour");
        Assert.Equal(1, said.ExitCode);
        Assert.Contains("the demo is for amd64 only", said.Error, StringComparison.Ordinal);
        Assert.Contains("aarch64", said.Error, StringComparison.Ordinal);
    }
}
