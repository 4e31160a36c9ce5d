using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Reads a part's operations: each object with the stretches that its content is put together from. Nothing is made here.</summary>
internal sealed class DeltaRecipeReader(DeltaPart part)
{
    private const string Format = "static delta part";

    // Each costs some 64 bytes of memory and may cost 3 of the part. 8 GiB of one file, copied by blocks of 8 KiB, have as many.
    private const int MaximumStretches = 1024 * 1024;
    private readonly int[] counts = new int[7];
    private int at, made, allStretches;
    private Checksum? source;
    private DeltaRecipe? open;
    private List<DeltaStretch> stretches = [];

    public DeltaOperationCounts Counts => new(counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6]);

    /// <exception cref="MalformedException">The operations say what cannot be done.</exception>
    public IEnumerable<DeltaRecipe> Read(IReadOnlyList<ObjectName> objects)
    {
        // As libostree: a part that makes nothing is not read.
        while (objects.Count > 0 && at < part.Operations.Length)
        {
            var operation = (DeltaOperation)part.Operations[at++];
            if (Step(operation, objects) is { } recipe)
                yield return recipe;
        }

        if (open is not null || made != objects.Count)
            throw new MalformedException(Format, "operations", $"{objects.Count} objects", $"{made}{(open is null ? "" : " and one without an end")}");
    }

    private DeltaRecipe? Step(DeltaOperation operation, IReadOnlyList<ObjectName> objects)
    {
        switch (operation)
        {
            case DeltaOperation.Whole:
                counts[0]++;
                return Whole(Next(objects));
            case DeltaOperation.Open:
                counts[1]++;
                Open(Next(objects));
                return null;
            case DeltaOperation.Write:
                counts[2]++;
                Write();
                return null;
            case DeltaOperation.SetSource:
                counts[3]++;
                SetSource();
                return null;
            case DeltaOperation.UnsetSource:
                counts[4]++;
                source = null;
                return null;
            case DeltaOperation.Patch:
                counts[6]++;
                Patch();
                return null;
            case DeltaOperation.Close:
                counts[5]++;
                return Close();
            case DeltaOperation.Recompress when part.MayRecompress:
                if (Opened() is not { Recompression: null, Stretches: [] } begun)
                    throw new MalformedException(Format, "operation", "the way of compressing before anything else of a file", "behind it");
                open = begun with { Recompression = Recompression.Read(Number) };
                return null;
            default:
                throw new MalformedException(Format, "operation", "one of S o w r R c B", $"{(int)operation}");
        }
    }

    private ObjectName Next(IReadOnlyList<ObjectName> objects)
    {
        if (open is not null)
            throw new MalformedException(Format, "operation", "the end of the object before", "another one's beginning");
        return made < objects.Count ? objects[made] : throw new MalformedException(Format, "operations", $"{objects.Count} objects", "more");
    }

    private DeltaRecipe Whole(ObjectName name)
    {
        made++;
        if (name.Type != ObjectType.File)
        {
            long length = Number();
            return new DeltaRecipe(name, -1, -1, length, [Raw(Number(), length)]);
        }

        int mode = Index(part.ModeCount), xattrs = Index(part.XattrsCount);
        long size = Number();
        source = null;
        return new DeltaRecipe(name, mode, xattrs, size, [Raw(Number(), size)]);
    }

    private void Open(ObjectName name)
    {
        if (name.Type != ObjectType.File)
            throw new MalformedException(Format, "operation", "a file to open", $"{name}");
        int mode = Index(part.ModeCount), xattrs = Index(part.XattrsCount);
        stretches = [];
        open = new DeltaRecipe(name, mode, xattrs, Number(), stretches);
    }

    private void Write()
    {
        long size = Number(), offset = Number();
        Opened();
        if (size > 0)
            Add(source is null ? Raw(offset, size) : new DeltaStretch(source, offset, size));
    }

    private void Patch()
    {
        long offset = Number(), size = Number();
        Opened();
        if (source is null)
            throw new MalformedException(Format, "operation", "an object to patch", "none");
        Add(Raw(offset, size) with { Source = source, IsPatch = true });
    }

    private void Add(DeltaStretch stretch)
    {
        if (++allStretches > MaximumStretches)
            throw new MalformedException(Format, "stretches", $"at most {MaximumStretches}", "more");
        stretches.Add(stretch);
    }

    private void SetSource()
    {
        DeltaStretch stretch = Raw(Number(), Checksum.Size);
        Span<byte> bytes = stackalloc byte[Checksum.Size];
        part.ReadRaw(bytes, stretch.Offset);
        source = Checksum.FromBytes(bytes);
    }

    private DeltaRecipe Close()
    {
        DeltaRecipe done = Opened();
        if (done.Recompression is not null && done.Stretches is not [{ IsPatch: true }])
            throw new MalformedException(Format, "operation", "one patch of what is compressed again", $"{done.Stretches.Count} stretches");
        made++;
        open = null;
        source = null;
        return done;
    }

    private DeltaRecipe Opened() => open ?? throw new MalformedException(Format, "operation", "an object's beginning first", "none");

    private DeltaStretch Raw(long offset, long size) => size <= part.RawSize && offset <= part.RawSize - size
        ? new DeltaStretch(null, offset, size)
        : throw new MalformedException(Format, "stretch", $"at most {part.RawSize}", $"{size} bytes at {offset}");

    private int Index(int count) => Number() is var index && index < count
        ? (int)index
        : throw new MalformedException(Format, "index", $"less than {count}", $"{index}");

    private long Number() => VariableNumber.Read(part.Operations, ref at);
}
