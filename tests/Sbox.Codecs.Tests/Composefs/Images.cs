using Sbox.Codecs.Composefs;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Composefs;

/// <summary>The same dump, made an image by us and by the real tool.</summary>
internal static class Images
{
    public static byte[] Ours(ReadOnlySpan<byte> dump, uint minVersion = 0, uint maxVersion = 1) =>
        Ours(ComposefsDump.Read(dump), minVersion, maxVersion);

    public static byte[] Ours(DirectoryNode root, uint minVersion = 0, uint maxVersion = 1)
    {
        using var image = new MemoryStream();
        ComposefsImage.Write(root, image, minVersion, maxVersion);
        return image.ToArray();
    }

    public static byte[] MkComposefs(ReadOnlySpan<byte> dump, params string[] options)
    {
        using var scratch = new Scratch();
        string source = scratch.File("dump", dump);
        string image = Path.Combine(scratch.Path, "image.cfs");
        Judge.MkComposefs.Run([.. options, "--from-file", source, image]);
        return File.ReadAllBytes(image);
    }

    /// <summary>Fails with the first differing offset, which tells more than two megabytes of hexadecimal.</summary>
    public static void AssertSame(byte[] theirs, byte[] ours, Func<string> context)
    {
        int common = theirs.AsSpan().CommonPrefixLength(ours);
        if (common < theirs.Length || common < ours.Length)
            Assert.Fail($"lengths {theirs.Length} (theirs) and {ours.Length} (ours), first difference at {common}\n{context()}");
    }
}

/// <summary>A directory of its own, gone afterwards.</summary>
internal sealed class Scratch : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("sbox-codecs-").FullName;

    public string File(string name, ReadOnlySpan<byte> content)
    {
        string path = System.IO.Path.Combine(Path, name);
        System.IO.File.WriteAllBytes(path, content);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
