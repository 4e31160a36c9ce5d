using System.Collections;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Extended attributes as objects hold them: sorted by the bytes of their names, no name twice. Compared by value.</summary>
/// <remarks>GVariant <c>a(ayay)</c>; a name's bytes end with a NUL. docs/formats/file-object.md.</remarks>
public sealed class XattrList : IReadOnlyList<Xattr>, IEquatable<XattrList>
{
    private static readonly GVariantType PairType = GVariantType.Parse("(ayay)");

    private readonly IReadOnlyList<Xattr> items;

    private XattrList(IReadOnlyList<Xattr> items) => this.items = items;

    /// <summary>No attribute.</summary>
    public static XattrList Empty { get; } = new([]);

    /// <inheritdoc/>
    public int Count => items.Count;

    /// <inheritdoc/>
    public Xattr this[int index] => items[index];

    /// <summary>The attributes, put in order.</summary>
    public static XattrList From(IReadOnlyList<Xattr> attributes) => attributes.Count == 0
        ? Empty
        : new([.. attributes.Order(Comparer<Xattr>.Create(static (a, b) => Dir.CompareNames(a.Name, b.Name)))]);

    /// <summary>Reads an <c>a(ayay)</c>.</summary>
    /// <exception cref="MalformedException">A name is not ended by its only NUL, or is not behind the one before it.</exception>
    internal static XattrList From(GVariant array, string format)
    {
        if (array.Items.Count == 0)
            return Empty;
        var items = new Xattr[array.Items.Count];
        for (int i = 0; i < items.Length; i++)
        {
            byte[] name = array.Items[i].Items[0].Bytes;
            if (name.Length < 2 || Array.IndexOf(name, (byte)0) != name.Length - 1)
                throw new MalformedException(format, "xattr name", "bytes and one NUL", Convert.ToHexStringLower(name));
            items[i] = new Xattr(FileName.FromBytes(name.AsSpan(0, name.Length - 1)), array.Items[i].Items[1].Bytes);
        }

        // libostree accepts any order and hashes what it finds, so the order is kept as it is.
        return new XattrList(items);
    }

    internal GVariant ToVariant() => GVariant.Array(PairType, [.. items.Select(static item =>
        GVariant.Tuple(GVariant.Of([.. FileName.ToBytes(item.Name), 0]), GVariant.Of(item.Value)))]);

    /// <inheritdoc/>
    public IEnumerator<Xattr> GetEnumerator() => items.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(XattrList? other)
    {
        if (other is null || other.Count != Count)
            return false;
        for (int i = 0; i < Count; i++)
        {
            if (items[i].Name != other[i].Name || !items[i].Value.AsSpan().SequenceEqual(other[i].Value))
                return false;
        }

        return true;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as XattrList);

    /// <inheritdoc/>
    public override int GetHashCode() => items.Count == 0 ? 0 : string.GetHashCode(items[0].Name, StringComparison.Ordinal);

    /// <summary>As <c>ostree ls -X</c> prints it.</summary>
    public override string ToString() => ToVariant().ToString();
}
