using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>The programs of a box, as files on the machine that builds.</summary>
/// <param name="Sbox">The program <c>sbox</c>, which is <c>ostree</c> too.</param>
/// <param name="SboxRoot">The initrd's program <c>sbox-root</c>.</param>
/// <param name="DracutModule">The directory <c>90sbox</c>, which tells dracut how to put sbox-root into an initrd.</param>
public sealed record BoxPrograms(string Sbox, string SboxRoot, string DracutModule)
{
    private const string ModuleInTree = "usr/lib/dracut/modules.d/90sbox";

    /// <summary>What is absent of the three; empty when all is there.</summary>
    public IReadOnlyList<string> Missing() =>
        [.. new[] { Sbox, SboxRoot }.Where(file => !File.Exists(file)), .. new[] { DracutModule }.Where(directory => !Directory.Exists(directory))];

    internal void InstallInto(TreeRoot tree)
    {
        tree.Write("usr/bin/sbox", File.ReadAllBytes(Sbox), Permission.Program);
        tree.Link("usr/bin/ostree", "sbox");
        tree.Write("usr/lib/sbox/sbox-root", File.ReadAllBytes(SboxRoot), Permission.Program);
        tree.Remove(ModuleInTree);
        foreach (string name in ModuleFiles())
        {
            using Dir module = Dir.Open(DracutModule);
            uint mode = (module.Stat(name).Permissions & Permission.Execute) != 0 ? Permission.Program : Permission.File;
            tree.Write($"{ModuleInTree}/{name}", module.ReadAll(name), mode);
        }
    }

    internal Checksum Digest()
    {
        using var digest = new InputDigest("sbox programs 1");
        return digest.AddFile(Sbox).Add(InitrdDigest().Span).Finish();
    }

    /// <summary>Of what gets into the initrd only: another sbox alone must not make another initrd.</summary>
    internal Checksum InitrdDigest()
    {
        using var digest = new InputDigest("sbox initrd programs 1");
        digest.AddFile(SboxRoot);
        foreach (string name in ModuleFiles())
            digest.Add(name).AddFile($"{DracutModule}/{name}");
        return digest.Finish();
    }

    private IEnumerable<string> ModuleFiles() => Directory.GetFiles(DracutModule).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);
}
