using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A dictionary <c>a{sv}</c>: names and values of any type, in the order in which they were added. Immutable.</summary>
public sealed class VariantDictionary : IEquatable<VariantDictionary>
{
    private static readonly GVariantType EntryType = GVariantType.Parse("{sv}");

    /// <summary>The dictionary that a GVariant of type <c>a{sv}</c> is.</summary>
    public VariantDictionary(GVariant variant) => Variant = variant.Type.Signature == "a{sv}"
        ? variant
        : throw new ArgumentException($"expected a{{sv}}, got {variant.Type}", nameof(variant));

    /// <summary>No entry.</summary>
    public static VariantDictionary Empty { get; } = new(GVariant.Array(EntryType));

    /// <summary>As a GVariant.</summary>
    public GVariant Variant { get; }

    /// <summary>The names, in order.</summary>
    public IEnumerable<string> Keys => Variant.Items.Select(static entry => entry.Items[0].Text);

    /// <summary>The value by that name; null where there is none.</summary>
    public GVariant? this[string key] => Variant.Items.FirstOrDefault(entry => entry.Items[0].Text == key)?.Items[1].Boxed;

    /// <summary>The text by that name; null where there is none, or it is no string.</summary>
    public string? GetString(string key) => this[key] is { Type.Kind: 's' } value ? value.Text : null;

    /// <summary>The same dictionary with one entry more, at its end; one by that name is left out.</summary>
    public VariantDictionary With(string key, GVariant value) =>
        new(GVariant.Array(EntryType, [.. Without(key).Variant.Items, Entry(key, value)]));

    /// <summary>The same dictionary with a string more.</summary>
    public VariantDictionary With(string key, string value) => With(key, GVariant.Of(value));

    /// <summary>The same dictionary without an entry.</summary>
    public VariantDictionary Without(string key) => this[key] is null
        ? this
        : new(GVariant.Array(EntryType, [.. Variant.Items.Where(entry => entry.Items[0].Text != key)]));

    /// <summary>Reads an <c>a{sv}</c>.</summary>
    /// <exception cref="MalformedException">The bytes are none.</exception>
    public static VariantDictionary Parse(ReadOnlySpan<byte> bytes) => new(GVariant.Parse("a{sv}", bytes));

    /// <summary>The bytes of the <c>a{sv}</c>.</summary>
    public byte[] ToBytes() => Variant.ToBytes();

    /// <inheritdoc/>
    public bool Equals(VariantDictionary? other) => other is not null && Variant.Equals(other.Variant);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as VariantDictionary);

    /// <inheritdoc/>
    public override int GetHashCode() => Variant.GetHashCode();

    /// <summary>As <c>g_variant_print</c> writes it.</summary>
    public override string ToString() => Variant.ToString();

    private static GVariant Entry(string key, GVariant value) => GVariant.Entry(GVariant.Of(key), GVariant.Box(value));
}
