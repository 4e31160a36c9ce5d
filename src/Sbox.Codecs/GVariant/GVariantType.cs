namespace Sbox.Codecs;

/// <summary>A GVariant type: its signature, and what follows from it for the layout of a value's bytes. Immutable.</summary>
/// <remarks>docs/formats/gvariant.md, after the GVariant specification.</remarks>
public sealed class GVariantType : IEquatable<GVariantType>
{
    /// <summary>Containers inside containers beyond which bytes are not read: deeper ones are an attack, not data.</summary>
    public const int MaximumDepth = 64;

    private GVariantType(string signature, IReadOnlyList<GVariantType> children)
    {
        Signature = signature;
        Children = children;
        (Alignment, FixedSize) = Measure(signature[0], children);
    }

    /// <summary>The signature: <c>a{sv}</c>.</summary>
    public string Signature { get; }

    /// <summary>The signature's first letter: what the outermost type is.</summary>
    public char Kind => Signature[0];

    /// <summary>The element of an array or maybe; the members of a tuple or dictionary entry; else none.</summary>
    public IReadOnlyList<GVariantType> Children { get; }

    /// <summary>A value begins at a multiple of this: 1, 2, 4 or 8.</summary>
    public int Alignment { get; }

    /// <summary>Bytes of every value of this type; 0 where it depends on the value.</summary>
    public int FixedSize { get; }

    /// <summary>Reads one complete type.</summary>
    /// <exception cref="MalformedException">The text is no type, or goes on after one.</exception>
    public static GVariantType Parse(string signature)
    {
        int at = 0;
        GVariantType type = Read(signature, ref at, depth: 0);
        return at == signature.Length ? type : throw Malformed(signature, "one complete type");
    }

    /// <summary>An array of <paramref name="element"/>.</summary>
    public static GVariantType ArrayOf(GVariantType element) => new($"a{element.Signature}", [element]);

    /// <summary>A tuple of <paramref name="members"/>.</summary>
    public static GVariantType TupleOf(params IReadOnlyList<GVariantType> members) =>
        new($"({string.Concat(members.Select(static member => member.Signature))})", members);

    /// <inheritdoc/>
    public bool Equals(GVariantType? other) => other is not null && Signature == other.Signature;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as GVariantType);

    /// <inheritdoc/>
    public override int GetHashCode() => string.GetHashCode(Signature, StringComparison.Ordinal);

    /// <summary>The signature.</summary>
    public override string ToString() => Signature;

    private static GVariantType Read(string text, ref int at, int depth)
    {
        if (at >= text.Length || depth > MaximumDepth)
            throw Malformed(text, at >= text.Length ? "a type that does not end early" : $"at most {MaximumDepth} levels");
        int start = at;
        char kind = text[at++];
        var children = new List<GVariantType>();
        switch (kind)
        {
            case 'b' or 'y' or 'n' or 'q' or 'i' or 'u' or 'x' or 't' or 'h' or 'd' or 's' or 'o' or 'g' or 'v':
                break;
            case 'a' or 'm':
                children.Add(Read(text, ref at, depth + 1));
                break;
            case '(':
                ReadUntil(text, ')', ref at, depth, children);
                break;
            case '{':
                ReadUntil(text, '}', ref at, depth, children);
                if (children.Count != 2 || !"bynqiuxthdsog".Contains(children[0].Kind, StringComparison.Ordinal))
                    throw Malformed(text, "a dictionary entry of a basic key and a value");
                break;
            default:
                throw Malformed(text, "a GVariant type");
        }

        return new GVariantType(text[start..at], children);
    }

    private static void ReadUntil(string text, char end, ref int at, int depth, List<GVariantType> children)
    {
        while (at < text.Length && text[at] != end)
            children.Add(Read(text, ref at, depth + 1));
        if (at++ >= text.Length)
            throw Malformed(text, $"a closing '{end}'");
    }

    private static (int Alignment, int FixedSize) Measure(char kind, IReadOnlyList<GVariantType> children) => kind switch
    {
        'b' or 'y' => (1, 1),
        'n' or 'q' => (2, 2),
        'i' or 'u' or 'h' => (4, 4),
        'x' or 't' or 'd' => (8, 8),
        's' or 'o' or 'g' => (1, 0),
        'v' => (8, 0),
        'a' or 'm' => (children[0].Alignment, 0),
        _ => MeasureTuple(children),
    };

    private static (int Alignment, int FixedSize) MeasureTuple(IReadOnlyList<GVariantType> members)
    {
        int alignment = 1, size = 0;
        foreach (GVariantType member in members)
            alignment = Math.Max(alignment, member.Alignment);
        foreach (GVariantType member in members)
        {
            if (member.FixedSize == 0)
                return (alignment, 0);
            size = GVariantFraming.Align(size, member.Alignment) + member.FixedSize;
        }

        // The empty tuple still takes one byte, so that an array of them has a length.
        return (alignment, Math.Max(1, GVariantFraming.Align(size, alignment)));
    }

    private static MalformedException Malformed(string text, string expected) => new("GVariant type", "signature", expected, $"'{text}'");
}
