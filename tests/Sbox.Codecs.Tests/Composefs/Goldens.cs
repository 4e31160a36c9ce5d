using System.IO.Compression;

namespace Sbox.Codecs.Tests.Composefs;

/// <summary>Files of tests/golden; its README has the commands that made them.</summary>
internal static class Goldens
{
    private static readonly string Root = Find(AppContext.BaseDirectory);

    public static byte[] Bytes(string name) => File.ReadAllBytes(Path.Combine(Root, name));

    public static byte[] Unzipped(string name)
    {
        using var zipped = new GZipStream(new MemoryStream(Bytes(name)), CompressionMode.Decompress);
        using var whole = new MemoryStream();
        zipped.CopyTo(whole);
        return whole.ToArray();
    }

    private static string Find(string below)
    {
        string here = Path.Combine(below, "tests", "golden");
        return Directory.Exists(here)
            ? here
            : Find(Path.GetDirectoryName(below) ?? throw new InvalidOperationException("tests/golden is not above the test program"));
    }
}
