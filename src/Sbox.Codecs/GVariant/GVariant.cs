using System.Buffers.Binary;
using System.Collections.Frozen;

namespace Sbox.Codecs;

/// <summary>
/// A value of GLib's GVariant format, in which libostree keeps its metadata: a type and a tree of values. Immutable.
/// Numbers are the machine's to this class; on disk they are little-endian.
/// </summary>
/// <remarks>docs/formats/gvariant.md.</remarks>
public sealed class GVariant : IEquatable<GVariant>
{
    private static readonly FrozenDictionary<char, GVariantType> Basic =
        "bynqiuxthdsogv".ToFrozenDictionary(static letter => letter, static letter => GVariantType.Parse(letter.ToString()));

    private static readonly GVariantType ByteArray = GVariantType.Parse("ay");

    private readonly object value;

    internal GVariant(GVariantType type, object value) => (Type, this.value) = (type, value);

    /// <summary>Its type.</summary>
    public GVariantType Type { get; }

    /// <summary>The value of a <c>b</c>.</summary>
    public bool Boolean => Is<bool>();

    /// <summary>The value of a <c>y</c>.</summary>
    public byte Byte => Is<byte>();

    /// <summary>The value of an <c>n</c>, <c>i</c>, <c>h</c> or <c>x</c>.</summary>
    public long Signed => value switch { short n => n, int i => i, long x => x, _ => throw Wrong("a signed integer") };

    /// <summary>The value of a <c>q</c>, <c>u</c> or <c>t</c>.</summary>
    public ulong Unsigned => value switch { ushort q => q, uint u => u, ulong t => t, _ => throw Wrong("an unsigned integer") };

    /// <summary>The value of a <c>d</c>.</summary>
    public double Double => Is<double>();

    /// <summary>The text of an <c>s</c>, <c>o</c> or <c>g</c>.</summary>
    public string Text => Is<string>();

    /// <summary>The bytes of an <c>ay</c>; not to be changed.</summary>
    public byte[] Bytes => Is<byte[]>();

    /// <summary>
    /// The elements of an array (an <c>ay</c> has <see cref="Bytes"/> instead), the members of a tuple, key and value of an entry,
    /// none or one of a maybe.
    /// </summary>
    public IReadOnlyList<GVariant> Items => Is<GVariant[]>();

    /// <summary>What a <c>v</c> holds.</summary>
    public GVariant Boxed => Is<GVariant>();

    /// <summary>A boolean.</summary>
    public static GVariant Of(bool value) => new(Basic['b'], value);

    /// <summary>A byte.</summary>
    public static GVariant Of(byte value) => new(Basic['y'], value);

    /// <summary>A signed 32-bit integer.</summary>
    public static GVariant Of(int value) => new(Basic['i'], value);

    /// <summary>An unsigned 32-bit integer.</summary>
    public static GVariant Of(uint value) => new(Basic['u'], value);

    /// <summary>An unsigned 64-bit integer.</summary>
    public static GVariant Of(ulong value) => new(Basic['t'], value);

    /// <summary>A string; it must hold no NUL.</summary>
    public static GVariant Of(string value) => value.Contains('\0', StringComparison.Ordinal)
        ? throw new ArgumentException("a GVariant string holds no NUL", nameof(value))
        : new(Basic['s'], value);

    /// <summary>An array of bytes.</summary>
    public static GVariant Of(byte[] value) => new(ByteArray, value);

    /// <summary>An array of strings.</summary>
    public static GVariant Of(IEnumerable<string> values) => Array(Basic['s'], [.. values.Select(static text => Of(text))]);

    /// <summary>An array; every item has the element's type.</summary>
    public static GVariant Array(GVariantType element, params IReadOnlyList<GVariant> items)
    {
        if (items.FirstOrDefault(item => !item.Type.Equals(element)) is { } stranger)
            throw new ArgumentException($"an array of {element} cannot hold {stranger.Type}", nameof(items));
        var type = GVariantType.ArrayOf(element);
        return element.Kind == 'y' ? new(type, items.Select(static item => item.Byte).ToArray()) : new(type, items.ToArray());
    }

    /// <summary>A tuple.</summary>
    public static GVariant Tuple(params IReadOnlyList<GVariant> items) =>
        new(GVariantType.TupleOf([.. items.Select(static item => item.Type)]), items.ToArray());

    /// <summary>A dictionary entry.</summary>
    public static GVariant Entry(GVariant key, GVariant value) =>
        new(GVariantType.Parse($"{{{key.Type}{value.Type}}}"), new[] { key, value });

    /// <summary>A variant: a value that carries its type.</summary>
    public static GVariant Box(GVariant value) => new(Basic['v'], value);

    /// <summary>Reads a value in normal form.</summary>
    /// <param name="type">What the bytes are said to be.</param>
    /// <param name="bytes">All of the value's bytes; borrowed for the call.</param>
    /// <exception cref="MalformedException">They are no such value in normal form.</exception>
    public static GVariant Parse(GVariantType type, ReadOnlySpan<byte> bytes) => GVariantReader.Read(type, bytes);

    /// <summary>Reads a value in normal form; see <see cref="Parse(GVariantType, ReadOnlySpan{byte})"/>.</summary>
    public static GVariant Parse(string signature, ReadOnlySpan<byte> bytes) => Parse(GVariantType.Parse(signature), bytes);

    /// <summary>Reads a value from its text form, as <c>g_variant_parse</c> does: <c>'text'</c>, <c>uint64 5</c>, <c>@as []</c>, <c>{'key': &lt;true&gt;}</c>.</summary>
    /// <exception cref="MalformedException">It is no value, or nothing tells its type.</exception>
    public static GVariant ParseText(ReadOnlySpan<char> text) => GVariantTextReader.Parse(text);

    /// <summary>The value in normal form.</summary>
    public byte[] ToBytes() => GVariantWriter.Write(this);

    /// <summary>
    /// The same value with the bytes of every number in it turned around. <c>ostree show --raw</c> prints objects so, because the numbers
    /// in them that matter are kept most significant byte first.
    /// </summary>
    public GVariant ByteSwapped() => value switch
    {
        short n => new(Type, BinaryPrimitives.ReverseEndianness(n)),
        ushort q => new(Type, BinaryPrimitives.ReverseEndianness(q)),
        int i => new(Type, BinaryPrimitives.ReverseEndianness(i)),
        uint u => new(Type, BinaryPrimitives.ReverseEndianness(u)),
        long x => new(Type, BinaryPrimitives.ReverseEndianness(x)),
        ulong t => new(Type, BinaryPrimitives.ReverseEndianness(t)),
        double d => new(Type, BitConverter.Int64BitsToDouble(BinaryPrimitives.ReverseEndianness(BitConverter.DoubleToInt64Bits(d)))),
        GVariant boxed => new(Type, boxed.ByteSwapped()),
        GVariant[] items => new(Type, items.Select(static item => item.ByteSwapped()).ToArray()),
        _ => this,
    };

    /// <summary>As <c>g_variant_print</c> writes it, with the types that the text alone would not tell.</summary>
    public override string ToString() => GVariantText.Print(this, annotate: true);

    /// <summary>As <c>g_variant_print</c> writes it when types are not asked for.</summary>
    public string ToUnannotatedString() => GVariantText.Print(this, annotate: false);

    /// <inheritdoc/>
    public bool Equals(GVariant? other) => other is not null && Type.Equals(other.Type) && ToBytes().AsSpan().SequenceEqual(other.ToBytes());

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as GVariant);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.AddBytes(ToBytes());
        return hash.ToHashCode();
    }

    internal object Value => value;

    private T Is<T>() => value is T wanted ? wanted : throw Wrong(typeof(T).Name);

    private InvalidOperationException Wrong(string wanted) => new($"a GVariant of type {Type} is not {wanted}");
}
