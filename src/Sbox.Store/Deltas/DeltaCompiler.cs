using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Makes the parts of a delta: finds what is new, looks for differences from old versions on all cores, then packs and compresses parts on
/// all cores. Differences wait in a file; contents are read when they are compressed. So memory does not grow with the files.
/// </summary>
internal sealed class DeltaCompiler(
    Repository repository, Dir tmp, DeltaName name, DeltaOptions options, ConcurrentDictionary<Checksum, Packing?> packings, IProgress<DeltaProgress>? progress,
    CancellationToken cancel)
{
    private const int PatchesInMemory = 1024 * 1024;
    private const uint Dictionary = 1024 * 1024; // a compressor needs about fourteen times as much memory
    private const int Compressors = 2; // at once, however many processors: 64 MiB shall do for all of it
    private const int BlockFile = 8 * 1024 * 1024; // smaller ones are compared byte by byte
    private const int MostStretches = 256 * 1024;
    private const long WorthIt = 256 * 1024; // bytes of files that are compressed, below which nobody makes a delta of what they unpack to
    private const int Splittable = 8 * 1024 * 1024; // less than this is one part, whatever its content
    private readonly DifferencePool differs = new(repository, tmp, options, cancel);
    private readonly List<DeltaFallback> fallbacks = [];
    private readonly List<(DeltaItem Item, OldVersion Old)> compressed = []; // those of an old version, for what makes them out of what they unpack to
    private int metadata, modified, differences, newFiles, newSymlinks, done, total;
    private int copies;
    private long bytesRead, looseSize, copiedBytes, packed, toPack;
    private readonly Lock packing = new();

    /// <summary>Makes the parts, as files without names where they shall get some.</summary>
    public CompiledDelta Run(Dir destination)
    {
        using var patches = new Spool(tmp, PatchesInMemory);
        List<DeltaItem> items = Plan(patches);
        List<DeltaItem> again = Recompressed(patches);
        HashSet<ObjectName> names = [.. again.Select(static item => item.Name)];
        // What is made in two ways has parts by itself, so that all others are those of both deltas, and are compressed once.
        List<DeltaPartWriter> writers = Pack([.. items.Where(item => !names.Contains(item.Name))], patches, recompress: false);
        int shared = writers.Count;
        writers.AddRange(PackSome([.. items.Where(item => names.Contains(item.Name))], patches, recompress: false));
        int usual = writers.Count;
        writers.AddRange(PackSome(again, patches, recompress: true));
        // The memory that differences needed is what the compressors need now.
        differs.Clear();
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true); // the only way that gives it back at once
        return Divide(Compress(writers, destination), shared, usual, again);
    }

    // First the parts of both deltas, then those of the usual one, then those of the smaller one.
    private CompiledDelta Divide((DeltaPartHeader Header, SafeFileHandle File)[] parts, int shared, int usual, List<DeltaItem> again)
    {
        List<DeltaPartHeader> headers = [.. parts.Take(usual).Select(static part => part.Header)];
        var report = new DeltaReport(
            name, modified, metadata, newFiles, newSymlinks, differences, fallbacks, headers,
            headers.Sum(static part => (long)part.UncompressedSize), headers.Sum(static part => (long)part.Size), looseSize) { Copied = copies, CopiedBytes = copiedBytes };
        var files = new CompiledParts(headers, fallbacks, [.. parts.Take(usual).Select(static part => part.File)]);
        if (again.Count == 0)
            return new CompiledDelta(report, files, null);
        HashSet<ObjectName> names = [.. again.Select(static item => item.Name)];
        var smaller = new CompiledParts(
            [.. headers.Take(shared), .. parts.Skip(usual).Select(static part => part.Header)], [.. fallbacks.Where(each => !names.Contains(each.Name))], [.. parts.Skip(usual).Select(static part => part.File)])
        {
            Shared = shared,
            Recompressed = again.Sum(static item => item.Recompression!.NewSize),
        };
        long size = smaller.Headers.Sum(static part => (long)part.Size);
        if (size + smaller.Fallbacks.Sum(static each => (long)each.Size) < report.Size + fallbacks.Sum(static each => (long)each.Size))
            return new CompiledDelta(report with { Recompressed = again.Count, RecompressedSize = size }, files, smaller);
        smaller.Dispose(); // all of it is new
        return new CompiledDelta(report, files, null);
    }

    /// <summary>What is compressed, and can be made out of what its old version unpacks to; nothing where that would save little.</summary>
    private List<DeltaItem> Recompressed(Spool patches)
    {
        var made = new List<DeltaItem>();
        if (compressed.Sum(static pair => pair.Item.Size) < WorthIt)
            return made;
        total += compressed.Count;
        using var finder = new RecompressionFinder(repository, tmp, differs, packings, cancel);
        using var work = new OrderedWork<(DeltaItem Item, OldVersion Old), RecompressionFinder.Found?>(pair => finder.Find(pair.Item, pair.Old), cancel, Math.Min(Compressors, Environment.ProcessorCount));
        work.Run(compressed, (pair, found) =>
        {
            if (found is not null)
            {
                using Spool patch = found.Patch;
                made.Add(pair.Item with { Old = pair.Old.Checksum, PatchAt = patches.Length, PatchSize = patch.Length, Recompression = found.How });
                patch.CopyTo(patches, 0, patch.Length);
            }

            Interlocked.Add(ref bytesRead, pair.Item.Size + pair.Old.Size);
            progress?.Report(new DeltaProgress(++done, total, bytesRead));
        });
        return made.Sum(static item => item.Size) < WorthIt ? [] : made;
    }

    private List<DeltaItem> Plan(Spool patches)
    {
        var fresh = new DeltaTree(repository, name.To, cancel);
        DeltaTree? old = name.From is { } from ? new DeltaTree(repository, from, cancel) : null;
        var items = new List<DeltaItem>();
        foreach (ObjectName each in fresh.Metadata.Where(each => old?.Metadata.Contains(each) != true).OrderBy(static each => (each.Type, each.Checksum)))
            items.Add(Loose(new DeltaItem(each, repository.Objects.Dir.Stat(each.LoosePath(repository.Mode)).Size)));
        metadata = items.Count;

        DeltaMatching? matching = old is null ? null : new DeltaMatching(repository, old);
        var whole = new List<(DeltaItem Item, string Path)>();
        var patched = new List<(DeltaItem Item, OldVersion Old, string Path)>();
        foreach ((Checksum content, List<string> paths) in fresh.Files)
        {
            cancel.ThrowIfCancellationRequested();
            if (old?.Files.ContainsKey(content) == true)
                continue;
            FileObject file = repository.LoadFile(content);
            DeltaItem item = Loose(new DeltaItem(new ObjectName(content, ObjectType.File), file.Size, file.Header));
            if (file.Mode.IsSymlink)
                newSymlinks++;
            else
                newFiles++;
            if (options is { Recompress: true, Inline: false, FileName: null } && file.Mode.IsRegular && matching?.FindCompressed(file, paths) is { } packed)
                compressed.Add((item, packed));
            if (file.Mode.IsRegular && matching?.Find(file, paths) is { } before)
            {
                modified++;
                if (file.Size >= BlockFile && before.Size >= BlockFile && Copied(item, before) is { } copied)
                {
                    items.Add(copied);
                    continue;
                }

                if (options.Differences && file.Size + before.Size <= options.MaximumDifference)
                {
                    patched.Add((item, before, paths[0]));
                    continue;
                }
            }

            TakeWhole(item, paths[0], whole);
        }

        total = items.Count + patched.Count + whole.Count;
        done = items.Count;
        List<DeltaItem> made = Patch([.. patched.OrderBy(static each => Neighbours(each.Path), StringComparer.Ordinal)], patches, whole);
        differences = made.Count;
        items.AddRange(made);
        items.AddRange(whole.OrderBy(static each => each.Item.Header!.Mode.IsSymlink).ThenBy(static each => Neighbours(each.Path), StringComparer.Ordinal).Select(static each => each.Item));
        return items;
    }

    // In a part, or by itself.
    private void TakeWhole(DeltaItem item, string path, List<(DeltaItem Item, string Path)> whole)
    {
        if (item.Header!.Mode.IsRegular && options.IsFallback(item.Size))
            fallbacks.Add(new DeltaFallback(item.Name, (ulong)repository.Objects.Dir.Stat(item.Name.LoosePath(repository.Mode)).Size, (ulong)item.Size));
        else
            whole.Add((item, path));
    }

    /// <summary>
    /// A large file that is mostly as it was is made of stretches of the old one: looking for differences costs ten times as much. Null where
    /// differences are worth that, or where most of it is new.
    /// </summary>
    private DeltaItem? Copied(DeltaItem fresh, OldVersion old)
    {
        using var before = new RandomContent(repository, repository.LoadFile(old.Checksum), tmp);
        using var after = new RandomContent(repository, repository.LoadFile(fresh.Name.Checksum), tmp);
        IReadOnlyList<BlockStretch> stretches = new BlockMatch(before.ReadAt, before.Size, cancel).Divide(after.ReadAt, after.Size, cancel);
        var item = new DeltaItem(fresh.Name, fresh.Size, fresh.Header, old.Checksum, Stretches: stretches);
        bool mayDiffer = options.Differences && fresh.Size + old.Size <= options.MaximumDifference;
        if (item.NewBytes > (mayDiffer ? fresh.Size / 20 : fresh.Size / 2) || stretches.Count > MostStretches)
            return null;
        copies++;
        copiedBytes += fresh.Size - item.NewBytes;
        return item;
    }

    private DeltaItem Loose(DeltaItem item)
    {
        looseSize += repository.Objects.Dir.Stat(item.Name.LoosePath(repository.Mode)).Size;
        return item;
    }

    // What resembles each other lies side by side, where the compressor still sees it: by the kind that its name tells, then by name.
    private static string Neighbours(string path)
    {
        string file = path[(path.LastIndexOf('/') + 1)..];
        int dot = file.LastIndexOf('.');
        string kind = dot <= 0 || file.Contains(".so.", StringComparison.Ordinal) ? "" : file[dot..];
        return $"{(kind == "" ? path[..^file.Length] : kind)}\0{file}\0{path}";
    }

    /// <summary>Looks for the differences of all, several at once, and keeps them in order.</summary>
    private List<DeltaItem> Patch(
        List<(DeltaItem Item, OldVersion Old, string Path)> pairs, Spool patches, List<(DeltaItem Item, string Path)> unlike)
    {
        var made = new List<DeltaItem>(pairs.Count);
        using var work = new OrderedWork<(DeltaItem Item, OldVersion Old, string Path), Spool?>(pair => differs.Of(pair.Item, pair.Old), cancel);
        work.Run(pairs, (pair, patch) =>
        {
            if (patch is null)
            {
                TakeWhole(pair.Item, pair.Path, unlike);
            }
            else
            {
                using (patch)
                {
                    made.Add(pair.Item with { Old = pair.Old.Checksum, PatchAt = patches.Length, PatchSize = patch.Length });
                    patch.CopyTo(patches, 0, patch.Length);
                }
            }

            Interlocked.Add(ref bytesRead, pair.Item.Size + pair.Old.Size);
            progress?.Report(new DeltaProgress(++done, total, bytesRead));
        });
        return made;
    }

    private List<DeltaPartWriter> PackSome(List<DeltaItem> items, Spool patches, bool recompress) => items.Count > 0 ? Pack(items, patches, recompress) : [];

    private List<DeltaPartWriter> Pack(List<DeltaItem> items, Spool patches, bool recompress)
    {
        long raw = items.Sum(static item => item.RawSize);
        bool split = raw >= Splittable;
        long limit = split ? Math.Min(options.MaximumPart, Math.Max(Splittable / 2, (raw / Environment.ProcessorCount) + 1)) : options.MaximumPart;
        var code = new HashSet<DeltaItem>(items.Where(item => item.Old is null && IsCode(item)), ReferenceEqualityComparer.Instance);
        bool mostlyCode = code.Sum(static item => item.RawSize) * 2 > raw;
        var writers = new List<DeltaPartWriter>();
        // Code by itself, since what helps to compress it harms everything else.
        foreach (IGrouping<bool, DeltaItem> group in items.GroupBy(item => split ? code.Contains(item) : mostlyCode))
        {
            DeltaPartWriter? writer = null;
            foreach (DeltaItem item in group)
            {
                if (writer is null || (writer.Count > 0 && writer.Size + item.RawSize > limit))
                    writers.Add(writer = new DeltaPartWriter(repository, tmp, patches, group.Key) { Recompresses = recompress });
                writer.Add(item);
            }
        }

        // As libostree: a delta has one part at least, if it makes nothing.
        if (writers.Count == 0)
            writers.Add(new DeltaPartWriter(repository, tmp, patches, isCode: false));
        return writers;
    }

    private bool IsCode(DeltaItem item)
    {
        if (item.Header is not { Mode.IsRegular: true } || item.Size < 4096)
            return false;
        Span<byte> first = stackalloc byte[CompressedSize.HeadSize];
        using Stream content = repository.LoadFile(item.Name.Checksum).OpenContent();
        return CompressedSize.IsCode(first[..content.ReadAtLeast(first, first.Length, throwOnEndOfStream: false)]);
    }

    private (DeltaPartHeader Header, SafeFileHandle File)[] Compress(List<DeltaPartWriter> writers, Dir destination)
    {
        var parts = new (DeltaPartHeader Header, SafeFileHandle File)[writers.Count];
        toPack = writers.Sum(static writer => writer.RawSize);
        using var work = new OrderedWork<int, (DeltaPartHeader Header, SafeFileHandle File)>(
            index => writers[index].Finish(destination, DictionaryOf(writers[index].Size), Packed, cancel), cancel, Math.Min(Compressors, Environment.ProcessorCount));
        try
        {
            work.Run([.. Enumerable.Range(0, writers.Count)], (index, part) =>
            {
                parts[index] = part;
                lock (packing)
                {
                    done = Math.Min(total, done + part.Header.Objects.Count);
                    progress?.Report(new DeltaProgress(done, total, bytesRead) { Packed = packed, ToPack = toPack });
                }
            });
            return parts;
        }
        catch
        {
            foreach ((_, SafeFileHandle file) in parts)
                file?.Dispose();
            throw;
        }
    }

    // Several parts are compressed at once; under the lock, so that nobody is told less than a moment before.
    private void Packed(long bytes)
    {
        lock (packing)
        {
            packed += bytes;
            progress?.Report(new DeltaProgress(done, total, bytesRead) { Packed = packed, ToPack = toPack });
        }
    }

    private static uint DictionaryOf(long size) =>
        Math.Min(Dictionary, Math.Max(64 * 1024, System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Min(size, int.MaxValue))));
}

/// <summary>The parts of a delta.</summary>
/// <param name="Headers">What its superblock says of them.</param>
/// <param name="Fallbacks">What they leave out.</param>
/// <param name="Files">Their files, which have no names yet; but of those that are another delta's.</param>
internal sealed record CompiledParts(IReadOnlyList<DeltaPartHeader> Headers, IReadOnlyList<DeltaFallback> Fallbacks, List<SafeFileHandle> Files) : IDisposable
{
    /// <summary>How many of them, the first ones, are those of the delta beside this one.</summary>
    public int Shared { get; init; }

    /// <summary>Bytes that whoever applies them must compress.</summary>
    public long Recompressed { get; init; }

    /// <inheritdoc/>
    public void Dispose() => Files.ForEach(static file => file.Dispose());
}

/// <summary>A delta without names.</summary>
/// <param name="Report">What it is.</param>
/// <param name="Parts">As libostree knows it.</param>
/// <param name="Smaller">The one whose outcome is compressed again; null where there is none.</param>
internal sealed record CompiledDelta(DeltaReport Report, CompiledParts Parts, CompiledParts? Smaller) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Parts.Dispose();
        Smaller?.Dispose();
    }
}
