namespace Sbox.Image.Tests;

public sealed class MmdebstrapTests
{
    private static readonly PackageChoices Choices = new("trixie", "minbase", "amd64", ["main"], ["bash", "less"], [], ["Acquire::Retries \"3\""], Docs: false, Locales: false);

    [Fact]
    public void It_runs_in_namespaces_of_its_own_that_die_with_the_build()
    {
        string command = $"{Mmdebstrap.Command(Choices, "/tmp/base", "/cache/apt")}";
        Assert.StartsWith("setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL --mount-proc -- flock /cache/apt/.sbox-lock mmdebstrap --mode=root", command, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_mirror_mmdebstrap_chooses_its_own() =>
        Assert.Equal(["trixie", "/tmp/base"], Mmdebstrap.Command(Choices, "/tmp/base", "/cache/apt").Arguments.TakeLast(2));

    [Fact]
    public void A_mirror_comes_last() =>
        Assert.Equal("file:/mirror", Mmdebstrap.Command(Choices with { Mirrors = ["file:/mirror"] }, "/tmp/base", "/cache/apt").Arguments[^1]);

    [Fact]
    public void Pages_and_translations_are_left_out_and_licences_never()
    {
        IReadOnlyList<string> lean = Mmdebstrap.Command(Choices, "/t", "/c").Arguments;
        Assert.Contains("--dpkgopt=path-exclude=/usr/share/man/*", lean);
        Assert.Contains("--dpkgopt=path-exclude=/usr/share/locale/*", lean);
        Assert.Contains("--dpkgopt=path-include=/usr/share/doc/*/copyright", lean);
        Assert.DoesNotContain(Mmdebstrap.Command(Choices with { Docs = true, Locales = true }, "/t", "/c").Arguments, argument => argument.Contains("path-", StringComparison.Ordinal));
    }

    [Fact]
    public void Only_installed_packages_are_listed()
    {
        using var directory = new TempDirectory();
        using TreeRoot tree = FakeDebian.Make(directory.Of("tree"));
        Assert.Equal(["bash 5.2 amd64"], PackageList.Parse(tree.ReadText("var/lib/dpkg/status")).Select(package => $"{package}"));
    }
}
