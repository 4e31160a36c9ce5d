namespace Sbox.Codecs.Erofs;

/// <summary>The xattrs that more than one inode has, name and value alike: stored once, behind the inodes.</summary>
internal sealed class SharedXattrs
{
    private SharedXattrs(List<XattrEntry> entries, long bytes) => (Entries, Bytes) = (entries, bytes);

    /// <summary>One of each, in the order in which they are written.</summary>
    public List<XattrEntry> Entries { get; }

    public long Bytes { get; }

    /// <summary>Finds them and gives every xattr that is one of them its offset.</summary>
    /// <remarks>An inode refers to at most 128; what is more it keeps itself.</remarks>
    public static SharedXattrs Assign(IReadOnlyList<Inode> inodes)
    {
        List<XattrEntry> shared = FindUsedTwice(inodes);
        shared.Sort(WriteOrder);

        var offsets = new Dictionary<XattrEntry, long>(SameNameAndValue.Comparer);
        long end = 0;
        foreach (XattrEntry xattr in shared)
        {
            offsets.Add(xattr, end);
            end += xattr.Bytes;
        }

        foreach (Inode inode in inodes)
        {
            int count = 0;
            foreach (XattrEntry xattr in inode.Xattrs)
                if (offsets.TryGetValue(xattr, out long offset) && count++ < ErofsFormat.MaxSharedXattrs)
                    xattr.SharedOffset = offset;
        }

        return new SharedXattrs(shared, end);
    }

    private static List<XattrEntry> FindUsedTwice(IReadOnlyList<Inode> inodes)
    {
        var seen = new Dictionary<XattrEntry, bool>(SameNameAndValue.Comparer);
        var twice = new List<XattrEntry>();
        foreach (Inode inode in inodes)
            foreach (XattrEntry xattr in inode.Xattrs)
                if (!seen.TryAdd(xattr, false) && !seen[xattr])
                {
                    seen[xattr] = true;
                    twice.Add(xattr);
                }

        return twice;
    }

    /// <summary>Greatest name first, then longest value, then greatest value.</summary>
    private static int WriteOrder(XattrEntry one, XattrEntry other)
    {
        int byName = other.Name.Span.SequenceCompareTo(one.Name.Span);
        if (byName != 0)
            return byName;
        int byLength = other.Value.Length.CompareTo(one.Value.Length);
        return byLength != 0 ? byLength : other.Value.Span.SequenceCompareTo(one.Value.Span);
    }

    private sealed class SameNameAndValue : IEqualityComparer<XattrEntry>
    {
        public static readonly SameNameAndValue Comparer = new();

        public bool Equals(XattrEntry? one, XattrEntry? other) =>
            one!.Name.Span.SequenceEqual(other!.Name.Span) && one.Value.Span.SequenceEqual(other.Value.Span);

        public int GetHashCode(XattrEntry xattr)
        {
            var hash = new HashCode();
            hash.AddBytes(xattr.Name.Span);
            hash.AddBytes(xattr.Value.Span);
            return hash.ToHashCode();
        }
    }
}
