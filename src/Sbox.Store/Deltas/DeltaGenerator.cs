using System.Buffers.Binary;
using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Makes a delta and gives its files their names, the superblock last.</summary>
/// <param name="repository">Where the commits are.</param>
/// <param name="name">Which delta.</param>
/// <param name="options">How.</param>
/// <param name="packings">How files were found to be compressed for other deltas that are made with this one, null for those that cannot be compressed again; added to.</param>
/// <param name="progress">Told every now and then.</param>
/// <param name="cancel">Looked at between objects.</param>
internal sealed class DeltaGenerator(
    Repository repository, DeltaName name, DeltaOptions options, ConcurrentDictionary<Checksum, Packing?> packings, IProgress<DeltaProgress>? progress, CancellationToken cancel)
{
    private const uint FileMode = 0x1A4; // 0644

    public DeltaReport Run()
    {
        using FileLock? held = RepositoryLock.Take(repository.Dir, repository.Settings, LockKind.Shared, cancel);
        byte[] commit = repository.LoadMetadata(new ObjectName(name.To, ObjectType.Commit));
        using Dir tmp = repository.Dir.MakeAndOpenDir("tmp");
        (Dir destination, string superblock) = Destination();
        using (destination)
        {
            using CompiledDelta made = new DeltaCompiler(repository, tmp, name, options, packings, progress, cancel).Run(destination);
            VariantDictionary metadata = VariantDictionary.Empty;
            if (!options.Inline)
                Name(destination, made.Parts.Files, static index => $"{index}");
            if (made.Smaller is { } smaller)
                metadata = metadata.With(DeltaSuperblock.RecompressingKey, NameSmaller(destination, smaller, commit).Variant);
            List<SafeFileHandle> files = made.Parts.Files;
            List<GVariant> members = Members(made.Parts, commit, metadata, options.Inline ? files.Count : 0);
            WriteSuperblock(destination, superblock, members, options.Inline ? files : []);
            return made.Report;
        }
    }

    // After the parts that are of both, before the superblock that tells of it, and in files of its own.
    private RecompressingDelta NameSmaller(Dir destination, CompiledParts smaller, byte[] commit)
    {
        string Own(string path) => Path.GetFileName(path);
        Name(destination, smaller.Files, index => Own(name.RecompressingPart(smaller.Shared + index)));
        byte[] superblock = GVariant.Tuple([.. Members(smaller, commit, VariantDictionary.Empty, 0)]).ToBytes();
        Durable.Replace(destination, Own(name.RecompressingSuperblock), superblock, FileMode);
        return new RecompressingDelta(Checksum.Of(superblock), smaller.Headers.Sum(static part => (long)part.Size) + smaller.Fallbacks.Sum(static each => (long)each.Size), smaller.Recompressed);
    }

    private (Dir Directory, string Superblock) Destination()
    {
        if (options.FileName is null)
            return (repository.Dir.MakeAndOpenDir(name.Directory), "superblock");
        string file = Path.GetFileName(options.FileName);
        return (Dir.Open(Path.GetDirectoryName(options.FileName) is { Length: > 0 } directory ? directory : options.FileName.StartsWith('/') ? "/" : "."), file);
    }

    // Bytes before names, and all parts before the superblock that tells of them.
    private void Name(Dir destination, List<SafeFileHandle> files, Func<int, string> name)
    {
        for (int i = 0; i < files.Count; i++)
            Name(destination, files[i], name(i), repository.Settings.Fsync);
    }

    private static void Name(Dir destination, SafeFileHandle file, string name, bool durable)
    {
        Linux.Files.ChangeMode(file, FileMode, destination.Path);
        if (durable)
            Durable.Sync(file, destination.Of(name));
        using var held = new TemporaryName(name);
        string temporary = held.Text;
        destination.TryUnlink(temporary);
        if (!destination.TryLink(file, temporary))
            throw new LinuxException(Errno.EEXIST, "linkat", destination.Of(temporary));
        destination.Rename(temporary, destination, name);
    }

    private void WriteSuperblock(Dir destination, string superblock, List<GVariant> members, List<SafeFileHandle> inline)
    {
        VariantPieces pieces = InlineParts.Join(members, inline.Index().ToDictionary(each => name.Part(each.Index), static each => each.Item));
        if (pieces.Length > DeltaDirectory.MaximumSuperblock)
            throw new DeltaException(destination.Of(superblock), $"its parts make it larger than {DeltaDirectory.MaximumSuperblock} bytes; as files of their own they may be");
        if (options.Sign is { } sign)
        {
            var whole = new MemoryStream((int)pieces.Length); // a signature is of all of it
            pieces.WriteTo(whole, destination.Path);
            byte[] bytes = whole.ToArray();
            Durable.Replace(destination, superblock, DeltaSuperblock.Sign(bytes, sign(bytes)), FileMode);
            return;
        }

        using SafeFileHandle file = destination.CreateUnnamed();
        using var output = new HandleStream(file, static _ => { });
        pieces.WriteTo(output, destination.Path);
        output.Flush();
        Name(destination, file, superblock, durable: true);
        Durable.Sync(destination);
    }

    private List<GVariant> Members(CompiledParts parts, byte[] commit, VariantDictionary metadata, int inline)
    {
        metadata = metadata.With(DeltaSuperblock.EndiannessKey, GVariant.Of(options.BigEndian ? (byte)'B' : (byte)'l'));
        for (int i = 0; i < inline; i++)
            metadata = metadata.With(name.Part(i), GVariant.Of(true)); // its place
        if (repository.LoadDetachedMetadata(name.To) is { } detached)
            metadata = metadata.With(name.DetachedMetadata, detached.Variant);
        GVariantType type = DeltaSuperblock.Type;
        return
        [
            metadata.Variant,
            BigEndian.Of((ulong)options.Clock.GetUtcNow().ToUnixTimeSeconds()),
            GVariant.Of(name.From?.ToArray() ?? []), GVariant.Of(name.To.ToArray()),
            GVariant.Parse(Commit.Type, commit),
            GVariant.Of(Array.Empty<byte>()),
            GVariant.Array(type.Children[6].Children[0], [.. parts.Headers.Select(Header)]),
            GVariant.Array(type.Children[7].Children[0], [.. parts.Fallbacks.Select(Fallback)]),
        ];
    }

    private GVariant Header(DeltaPartHeader part)
    {
        var objects = new byte[part.Objects.Count * DeltaSuperblock.ObjectSize];
        for (int i = 0; i < part.Objects.Count; i++)
        {
            Span<byte> entry = objects.AsSpan(i * DeltaSuperblock.ObjectSize, DeltaSuperblock.ObjectSize);
            entry[0] = (byte)part.Objects[i].Type;
            part.Objects[i].Checksum.CopyTo(entry[1..]);
        }

        uint version = options.BigEndian ? BinaryPrimitives.ReverseEndianness(part.Version) : part.Version;
        return GVariant.Tuple(GVariant.Of(version), GVariant.Of(part.Checksum.ToArray()), Number(part.Size), Number(part.UncompressedSize), GVariant.Of(objects));
    }

    private GVariant Fallback(DeltaFallback item) => GVariant.Tuple(
        GVariant.Of((byte)item.Name.Type), GVariant.Of(item.Name.Checksum.ToArray()), Number(item.Size), Number(item.UncompressedSize));

    private GVariant Number(ulong number) => GVariant.Of(options.BigEndian ? BinaryPrimitives.ReverseEndianness(number) : number);
}
