using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Makes a delta and gives its files their names, the superblock last.</summary>
internal sealed class DeltaGenerator(Repository repository, DeltaName name, DeltaOptions options, IProgress<DeltaProgress>? progress, CancellationToken cancel)
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
            (DeltaReport report, List<SafeFileHandle> files) = new DeltaCompiler(repository, tmp, name, options, progress, cancel).Run(destination);
            try
            {
                byte[] bytes = Superblock(report, commit, options.Inline ? files : [], destination);
                if (options.Sign?.Invoke(bytes) is { } signatures)
                    bytes = DeltaSuperblock.Sign(bytes, signatures);
                if (!options.Inline)
                    Name(destination, files);
                Durable.Replace(destination, superblock, bytes, FileMode);
                return report;
            }
            finally
            {
                files.ForEach(static file => file.Dispose());
            }
        }
    }

    private (Dir Directory, string Superblock) Destination()
    {
        if (options.FileName is null)
            return (repository.Dir.MakeAndOpenDir(name.Directory), "superblock");
        string file = Path.GetFileName(options.FileName);
        return (Dir.Open(Path.GetDirectoryName(options.FileName) is { Length: > 0 } directory ? directory : options.FileName.StartsWith('/') ? "/" : "."), file);
    }

    // Bytes before names, and all parts before the superblock that tells of them.
    private void Name(Dir destination, List<SafeFileHandle> files)
    {
        for (int i = 0; i < files.Count; i++)
        {
            Linux.Files.ChangeMode(files[i], FileMode, destination.Path);
            if (repository.Settings.Fsync)
                Durable.Sync(files[i], destination.Of($"{i}"));
            string temporary = $".{i}.{Environment.ProcessId}.tmp";
            destination.TryUnlink(temporary);
            if (!destination.TryLink(files[i], temporary))
                throw new LinuxException(Errno.EEXIST, "linkat", destination.Of(temporary));
            destination.Rename(temporary, destination, $"{i}");
        }
    }

    private byte[] Superblock(DeltaReport report, byte[] commit, List<SafeFileHandle> inline, Dir destination)
    {
        VariantDictionary metadata = VariantDictionary.Empty.With(DeltaSuperblock.EndiannessKey, GVariant.Of(options.BigEndian ? (byte)'B' : (byte)'l'));
        for (int i = 0; i < inline.Count; i++)
            metadata = metadata.With(name.Part(i), Part(inline[i], destination));
        if (repository.LoadDetachedMetadata(name.To) is { } detached)
            metadata = metadata.With(name.DetachedMetadata, detached.Variant);
        GVariantType type = DeltaSuperblock.Type;
        return GVariant.Tuple(
            metadata.Variant,
            BigEndian.Of((ulong)options.Clock.GetUtcNow().ToUnixTimeSeconds()),
            GVariant.Of(name.From?.ToArray() ?? []), GVariant.Of(name.To.ToArray()),
            GVariant.Parse(Commit.Type, commit),
            GVariant.Of(Array.Empty<byte>()),
            GVariant.Array(type.Children[6].Children[0], [.. report.Parts.Select(Header)]),
            GVariant.Array(type.Children[7].Children[0], [.. report.Fallbacks.Select(Fallback)])).ToBytes();
    }

    private static GVariant Part(SafeFileHandle file, Dir destination)
    {
        var bytes = new byte[RandomAccess.GetLength(file)];
        for (int filled = 0; filled < bytes.Length;)
            filled += Linux.Files.ReadAt(file, bytes.AsSpan(filled), filled, destination.Path);
        return GVariant.Parse(DeltaSuperblock.InlineType, bytes);
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
