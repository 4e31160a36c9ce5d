using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store.Fuzz;

/// <summary>Every parser of the store, as something that takes bytes and looks at all that it made of them.</summary>
internal static class Targets
{
    private static readonly Dictionary<string, Action<byte[]>> All = new()
    {
        ["commit"] = static bytes => Walk(Commit.Parse(bytes)),
        ["dirtree"] = static bytes => DirTree.Parse(bytes),
        ["dirmeta"] = static bytes => DirMeta.Parse(bytes),
        ["detached"] = static bytes => Walk(VariantDictionary.Parse(bytes)),
        ["summary"] = static bytes => ReadSummary(bytes),
        ["superblock"] = static bytes => ReadSuperblock(bytes),
        ["inline-superblock"] = static bytes => ReadInline(bytes),
        ["delta-part"] = static bytes => ReadPart(bytes),
        ["file-header"] = static bytes => ArchiveFile.ParseHeader(bytes),
        ["filez"] = static bytes => ReadArchived(bytes),
        ["keyfile"] = static bytes => ReadKeyFile(bytes),
        ["tar"] = static bytes => ReadTree(bytes),
        ["cookies"] = static bytes => CookieFile.Container(CookieFile.Parse(Encoding.UTF8.GetString(bytes)), DateTimeOffset.UnixEpoch),
        ["metalink"] = static bytes => Metalink.Parse(bytes, "summary").Finding([1]),
        ["variant"] = static bytes => ReadVariant(bytes),
        ["binary-difference"] = static bytes => Patch(bytes),
        ["variant-text"] = static bytes => GVariant.ParseText(Encoding.UTF8.GetString(bytes)),
    };

    /// <summary>The parsers' names.</summary>
    public static IReadOnlyCollection<string> Names => All.Keys;

    /// <summary>Gives bytes to a parser.</summary>
    /// <returns>Whether they were read; else they were refused in order. Anything that is thrown is a defect.</returns>
    public static bool Read(string name, byte[] bytes)
    {
        try
        {
            All[name](bytes);
            return true;
        }
        catch (Exception fine) when (fine is MalformedException or RepositoryException or InvalidDataException or EndOfStreamException)
        {
            return false;
        }
    }

    private static void Walk(Commit commit)
    {
        Walk(commit.Metadata);
        _ = commit.Sizes?.Count;
        _ = commit.ComposefsDigest;
        _ = commit.Version;
        _ = commit.IsBoundTo("main");
    }

    private static void Walk(VariantDictionary dictionary)
    {
        foreach (string key in dictionary.Keys)
            _ = dictionary[key]!.ToString();
    }

    private static void ReadSummary(byte[] bytes)
    {
        Summary summary = Summary.Parse(bytes);
        Walk(summary.Metadata);
        _ = summary.RefsOf("org.example.Other").Count;
        _ = DeltaStore.ParseList(summary.Metadata[DeltaSuperblock.ListKey]);
    }

    private static void ReadSuperblock(byte[] bytes)
    {
        DeltaSuperblock superblock = DeltaSuperblock.Parse(bytes);
        for (int i = 0; i < superblock.Parts.Count; i++)
            _ = superblock.Inline(i)?.Length;
    }

    private static void ReadInline(byte[] bytes)
    {
        using Dir tmp = Dir.Open(Path.GetTempPath());
        using SafeFileHandle file = tmp.CreateUnnamed();
        Linux.Files.WriteAt(file, bytes, 0, tmp.Path);
        (DeltaSuperblock superblock, Dictionary<string, (long At, long Size)> parts) = InlineParts.Read(file, "superblock", bytes.Length * 4L, large: 0);
        foreach ((long at, long size) in parts.Values)
        {
            if (at < 0 || size < 0 || at + size > bytes.Length)
                throw new InvalidOperationException($"a part of {size} bytes at {at} of {bytes.Length} in {superblock.Name}");
        }
    }

    private static void ReadPart(byte[] bytes)
    {
        using Dir tmp = Dir.Open(Path.GetTempPath());
        using var part = DeltaPart.Open(new MemoryStream(bytes, writable: false), expected: null, 64 << 20, tmp, "part");
        try
        {
            foreach (DeltaRecipe recipe in part.Recipes(Samples.Objects))
            {
                if (recipe.Mode >= 0)
                    _ = part.HeaderOf(recipe).ToHashedBytes();
            }
        }
        catch (MalformedException) when (part.Operations.Length > 0)
        {
            return; // how many objects there are is said elsewhere: most have others than these
        }
    }

    private static void ReadVariant(byte[] bytes)
    {
        if (bytes.Length > 0)
            _ = GVariant.Parse(Samples.Types[bytes[0] % Samples.Types.Length], bytes[1..]).ToString();
    }

    private static void Patch(byte[] bytes)
    {
        const int size = 256;
        int ReadOld(Span<byte> into, long at)
        {
            Span<byte> part = into[..(int)Math.Clamp(size - at, 0, into.Length)];
            part.Fill((byte)at);
            return part.Length;
        }

        using var patch = new BinaryPatch(new MemoryStream(bytes, writable: false), ReadOld, size, size);
        patch.CopyTo(Stream.Null);
    }

    private static void ReadArchived(byte[] bytes)
    {
        if (bytes.Length < 8)
            throw new EndOfStreamException();
        int length = ArchiveFile.HeaderLength(bytes.AsSpan(0, 8));
        (FileHeader header, long size) = ArchiveFile.ParseHeader(bytes.AsSpan(8, Math.Min(length, bytes.Length - 8)));
        if (header.Mode.IsSymlink)
            return;
        int at = Math.Min(8 + length, bytes.Length);
        using var content = new ExactContent(ArchiveFile.Inflate(new MemoryStream(bytes, at, bytes.Length - at)), size);
        content.CopyTo(Stream.Null);
    }

    private static void ReadKeyFile(byte[] bytes)
    {
        KeyFile parsed = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
        RepositorySettings.From(parsed);
        foreach (string group in parsed.Groups)
        {
            foreach (string key in parsed.Keys(group))
                _ = parsed.GetList(group, key).Count + (parsed.GetString(group, key)?.Length ?? 0);
            if (group.StartsWith("remote \"", StringComparison.Ordinal) && group.EndsWith('"') && group.Length > 8)
                RemoteSettings.From(parsed, group["remote \"".Length..^1]);
        }

        if (KeyFile.Parse(parsed.ToString()).ToString() != parsed.ToString())
            throw new InvalidOperationException("what was written is read as something else");
    }

    private static void ReadTree(byte[] bytes)
    {
        foreach (ArchiveEntry entry in ArchiveTree.Read(new MemoryStream(bytes, writable: false), "archive"))
            entry.Content.CopyTo(Stream.Null);
    }

    // Made when a parser first asks: what is instrumented may not run before it was told where its counters are.
    private static class Samples
    {
        public static readonly GVariantType[] Types = [.. ((string[])["v", "as", "ay", "a{sv}", "a(ayay)", "(a{sv}aya(say)sstayay)", "mms", "a{s(bt)}", "(ybnqiuxthdsog)"]).Select(GVariantType.Parse)];

        public static readonly ObjectName[] Objects = [.. Enumerable.Range(0, 8).Select(static at => new ObjectName(Checksum.Of([(byte)at]), at % 4 == 3 ? ObjectType.DirTree : ObjectType.File))];
    }
}
