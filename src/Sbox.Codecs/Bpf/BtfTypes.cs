using System.Buffers.Binary;

namespace Sbox.Codecs.Bpf;

/// <summary>
/// The kernel's description of its own types (BTF), as /sys/kernel/btf/vmlinux has it: which functions there are, and at which byte of
/// a structure a field lies. Offsets differ from kernel to kernel, so they are asked for and never written down.
/// </summary>
/// <remarks>Format: the kernel's Documentation/bpf/btf.rst. Only what is asked for is decoded; the whole is some megabytes.</remarks>
public readonly ref struct BtfTypes
{
    private const string Format = "BTF";
    private const int NestingAtMost = 16;

    private readonly ReadOnlySpan<byte> types;
    private readonly ReadOnlySpan<byte> strings;
    private readonly int[] starts;

    private BtfTypes(ReadOnlySpan<byte> types, ReadOnlySpan<byte> strings, int[] starts)
    {
        this.types = types;
        this.strings = strings;
        this.starts = starts;
    }

    /// <summary>How many types there are; ids run from 1 to this.</summary>
    public int Count => starts.Length - 1;

    /// <summary>Reads header and table of types; little-endian, version 1.</summary>
    /// <param name="bytes">The whole; borrowed as long as the result is used.</param>
    /// <exception cref="MalformedException">It is no BTF, or a part lies outside of it.</exception>
    public static BtfTypes Parse(ReadOnlySpan<byte> bytes)
    {
        var header = new SpanReader(bytes, Format);
        if (header.ReadUInt16LittleEndian("magic") is var magic && magic != 0xEB9F)
            throw header.Malformed("magic", "eb9f", $"{magic:x4}");
        if (header.ReadByte("version") is var version && version != 1)
            throw header.Malformed("version", "1", $"{version}");
        header.ReadByte("flags");
        uint length = header.ReadUInt32LittleEndian("header length");
        ReadOnlySpan<byte> types = Part(bytes, length, header.ReadUInt32LittleEndian("types"), header.ReadUInt32LittleEndian("types"), "types");
        ReadOnlySpan<byte> strings = Part(bytes, length, header.ReadUInt32LittleEndian("strings"), header.ReadUInt32LittleEndian("strings"), "strings");
        return new BtfTypes(types, strings, StartsOf(types));
    }

    /// <summary>The id of a type of a kind by its name; 0 when there is none.</summary>
    /// <remarks>Looks through all of them: a few milliseconds.</remarks>
    public int Find(BtfKind kind, ReadOnlySpan<byte> name)
    {
        for (int id = 1; id < starts.Length; id++)
        {
            if (KindOf(id) == kind && NameIs(Word(starts[id]), name))
                return id;
        }

        return 0;
    }

    /// <summary>Where a field lies in a structure, in bytes; null when there is no such field. Fields of unnamed members count as the structure's own.</summary>
    /// <param name="structure">The structure's id.</param>
    /// <param name="field">The field's name.</param>
    /// <exception cref="MalformedException">The field is a bit field, or unnamed members nest without end.</exception>
    public int? OffsetOf(int structure, ReadOnlySpan<byte> field) => OffsetOf(structure, field, NestingAtMost);

    private int? OffsetOf(int structure, ReadOnlySpan<byte> field, int nesting)
    {
        if (nesting == 0)
            throw new MalformedException(Format, "members", $"at most {NestingAtMost} levels", "more");
        if (structure <= 0 || structure >= starts.Length || KindOf(structure) is not (BtfKind.Structure or BtfKind.Union))
            return null;
        uint info = Word(starts[structure] + 4);
        bool sized = info >> 31 != 0;
        for (int member = 0, at = starts[structure] + 12; member < (int)(info & 0xFFFF); member++, at += 12)
        {
            uint place = Word(at + 8);
            int bits = (int)(sized ? place & 0xFFFFFF : place);
            if (NameIs(Word(at), field))
            {
                return (bits % 8 == 0 && (!sized || place >> 24 == 0)) ? bits / 8
                    : throw new MalformedException(Format, "member", "a field of whole bytes", "a bit field");
            }

            if (NameIs(Word(at), []) && OffsetOf(Resolve((int)Word(at + 4)), field, nesting - 1) is { } inner)
                return (bits / 8) + inner;
        }

        return null;
    }

    // Past const, volatile and type tags, to what it is.
    private int Resolve(int id)
    {
        for (int step = 0; step < NestingAtMost && id > 0 && id < starts.Length; step++)
        {
            if (KindOf(id) is not (BtfKind.Constant or BtfKind.Volatile or BtfKind.TypeTag or BtfKind.Alias))
                return id;
            id = (int)Word(starts[id] + 8);
        }

        return 0;
    }

    private static int[] StartsOf(ReadOnlySpan<byte> types)
    {
        var starts = new List<int>(128 * 1024) { 0 };
        for (int at = 0; at < types.Length;)
        {
            if (types.Length - at < 12)
                throw new MalformedException(Format, $"type {starts.Count}", "12 bytes", $"{types.Length - at}");
            starts.Add(at);
            uint info = BinaryPrimitives.ReadUInt32LittleEndian(types[(at + 4)..]);
            int count = (int)(info & 0xFFFF);
            at += 12 + (BtfKind)((info >> 24) & 0x1F) switch
            {
                BtfKind.Integer or BtfKind.Variable or BtfKind.DeclarationTag => 4,
                BtfKind.Array => 12,
                BtfKind.Structure or BtfKind.Union or BtfKind.DataSection or BtfKind.LongEnumeration => count * 12,
                BtfKind.Enumeration or BtfKind.Prototype => count * 8,
                <= BtfKind.LongEnumeration and not 0 => 0,
                var unknown => throw new MalformedException(Format, $"type {starts.Count - 1}", "a known kind", $"{(int)unknown}"),
            };
            if (at > types.Length)
                throw new MalformedException(Format, $"type {starts.Count - 1}", "an end within the table", $"{at} of {types.Length} bytes");
        }

        return [.. starts];
    }

    private static ReadOnlySpan<byte> Part(ReadOnlySpan<byte> bytes, uint header, uint offset, uint length, string part) =>
        (ulong)header + offset + length <= (ulong)bytes.Length
            ? bytes.Slice((int)(header + offset), (int)length)
            : throw new MalformedException(Format, part, $"within {bytes.Length} bytes", $"{length} bytes at {(ulong)header + offset}");

    private BtfKind KindOf(int id) => (BtfKind)((Word(starts[id] + 4) >> 24) & 0x1F);

    private uint Word(int at) => BinaryPrimitives.ReadUInt32LittleEndian(types[at..]);

    private bool NameIs(uint offset, ReadOnlySpan<byte> name) =>
        offset + (uint)name.Length < (uint)strings.Length
        && strings.Slice((int)offset, name.Length).SequenceEqual(name) && strings[(int)offset + name.Length] == 0;
}

/// <summary>The kinds of BTF types, by the format's numbers.</summary>
public enum BtfKind
{
#pragma warning disable CS1591 // the kernel's btf.rst documents them
    Integer = 1,
    Pointer = 2,
    Array = 3,
    Structure = 4,
    Union = 5,
    Enumeration = 6,
    Forward = 7,
    Alias = 8,
    Volatile = 9,
    Constant = 10,
    Restricted = 11,
    Function = 12,
    Prototype = 13,
    Variable = 14,
    DataSection = 15,
    Float = 16,
    DeclarationTag = 17,
    TypeTag = 18,
    LongEnumeration = 19,
#pragma warning restore CS1591
}
