using System.Collections;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// A set of objects that may be a million: some 50 bytes each, and no more than that while it grows, since it grows in 256 parts. One
/// thread at a time.
/// </summary>
internal sealed class ObjectSet : IReadOnlyCollection<ObjectName>, INameSink
{
    private const int First = 4;
    private readonly Part[] parts = new Part[256];

    /// <inheritdoc/>
    public int Count { get; private set; }

    /// <summary>Adds one; false where it was there already.</summary>
    public bool Add(ObjectName name)
    {
        bool added = parts[name.Checksum.Span[0]].Add(name);
        Count += added ? 1 : 0;
        return added;
    }

    /// <summary>Whether it was added.</summary>
    public bool Contains(ObjectName name) => parts[name.Checksum.Span[0]].Contains(name);

    /// <inheritdoc/>
    public IEnumerator<ObjectName> GetEnumerator()
    {
        foreach (Part part in parts)
        {
            for (int i = 0; i < (part.Types?.Length ?? 0); i++)
            {
                if (part.Types![i] != 0)
                    yield return new ObjectName(part.Checksums![i], (ObjectType)part.Types[i]);
            }
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of places probed one after the other; type 0 is no object's and marks a free one.</summary>
    private struct Part
    {
        public Checksum[]? Checksums;
        public byte[]? Types;
        private int count;

        public readonly bool Contains(ObjectName name) => Types is not null && Types[Place(name)] != 0;

        public bool Add(ObjectName name)
        {
            if (Types is null || (count + 1) * 5 > Types.Length * 4)
                Grow();
            int place = Place(name);
            if (Types![place] != 0)
                return false;
            (Checksums![place], Types[place]) = (name.Checksum, (byte)name.Type);
            count++;
            return true;
        }

        // The checksum's first byte chose the part; the next ones are as good a hash as any.
        private readonly int Place(ObjectName name)
        {
            int place = (int)((uint)name.Checksum.GetHashCode() / 256 % (uint)Types!.Length);
            while (Types[place] != 0 && (Types[place] != (byte)name.Type || Checksums![place] != name.Checksum))
                place = place + 1 == Types.Length ? 0 : place + 1;
            return place;
        }

        private void Grow()
        {
            (Checksum[]? oldChecksums, byte[]? oldTypes) = (Checksums, Types);
            int size = oldTypes is null ? First : (oldTypes.Length / 2 * 3) + 1;
            (Checksums, Types) = (new Checksum[size], new byte[size]);
            for (int i = 0; i < (oldTypes?.Length ?? 0); i++)
            {
                if (oldTypes![i] == 0)
                    continue;
                int place = Place(new ObjectName(oldChecksums![i], (ObjectType)oldTypes[i]));
                (Checksums[place], Types[place]) = (oldChecksums[i], oldTypes[i]);
            }
        }
    }
}
