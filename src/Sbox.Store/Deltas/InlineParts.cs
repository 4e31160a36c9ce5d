using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// Superblocks that hold their parts, without having those in memory: of each part is only known where it lies in the superblock's file.
/// </summary>
/// <remarks>docs/formats/static-delta.md.</remarks>
internal static class InlineParts
{
    private const int Large = 64 * 1024;
    private const int LongestKey = 4096;

    // Behind a part's bytes, as behind all that a variant holds.
    private static readonly byte[] TypeOfPart = [0, .. Encoding.ASCII.GetBytes(DeltaSuperblock.InlineType.Signature)];

    /// <summary>Puts a superblock together.</summary>
    /// <param name="members">Its members, with something in the metadata for each part.</param>
    /// <param name="parts">The parts' files, by their names in the metadata.</param>
    public static VariantPieces Join(IReadOnlyList<GVariant> members, IReadOnlyDictionary<string, SafeFileHandle> parts)
    {
        var pieces = new VariantPieces();
        var ends = new List<long>();
        foreach (GVariant entry in members[0].Items)
        {
            pieces.Align(members[0].Type.Alignment);
            if (parts.TryGetValue(entry.Items[0].Text, out SafeFileHandle? part))
                AddEntry(pieces, entry.Items[0].Text, part);
            else
                pieces.Add(entry.ToBytes());
            ends.Add(pieces.Length);
        }

        pieces.AddOffsets(0, [.. ends]);
        ends = [pieces.Length];
        for (int i = 1; i < members.Count; i++)
        {
            pieces.Align(members[i].Type.Alignment);
            pieces.Add(members[i].ToBytes());
            if (members[i].Type.FixedSize == 0 && i < members.Count - 1)
                ends.Insert(0, pieces.Length);
        }

        pieces.AddOffsets(0, [.. ends]);
        return pieces;
    }

    /// <summary>Reads a superblock that nobody signed.</summary>
    /// <param name="file">Its file.</param>
    /// <param name="path">What it is called, for errors.</param>
    /// <param name="most">Bytes that it may have beside its parts.</param>
    /// <param name="large">Bytes from which on a part is left where it is; smaller ones are read with the rest.</param>
    /// <returns>All but its parts, and where those lie, by their names in the metadata.</returns>
    /// <exception cref="MalformedException">The bytes are none, or too many.</exception>
    public static (DeltaSuperblock Superblock, Dictionary<string, (long At, long Size)> Parts) Read(SafeFileHandle file, string path, long most, int large = Large)
    {
        var reader = new Reader(file, path, most, large);
        IReadOnlyList<GVariantType> types = DeltaSuperblock.Type.Children;
        long size = RandomAccess.GetLength(file);
        int offsetSize = GVariantFraming.OffsetSize(size), variable = types.SkipLast(1).Count(static type => type.FixedSize == 0);
        long body = size - (variable * offsetSize), metadataEnd = reader.Offset(size - offsetSize, offsetSize, body);
        var parts = new Dictionary<string, (long, long)>();
        var members = new List<GVariant> { reader.Metadata(types[0], metadataEnd, parts) };
        long at = metadataEnd, offsetAt = size - offsetSize;
        for (int i = 1; i < types.Count; i++)
        {
            long start = GVariantFraming.Align(at, types[i].Alignment);
            long end = types[i].FixedSize > 0 ? start + types[i].FixedSize
                : i == types.Count - 1 ? body
                : reader.Offset(offsetAt -= offsetSize, offsetSize, body);
            members.Add(GVariant.Parse(types[i], reader.Bytes(start, end, body)));
            at = end;
        }

        return (DeltaSuperblock.Of(members, signatures: null), parts);
    }

    private static void AddEntry(VariantPieces pieces, string key, SafeFileHandle part)
    {
        long start = pieces.Length;
        pieces.Add([.. Encoding.UTF8.GetBytes(key), 0]);
        long keyEnd = pieces.Length - start;
        pieces.Align(8); // a variant's
        pieces.Add(part);
        pieces.Add(TypeOfPart);
        pieces.AddOffsets(start, keyEnd);
    }

    private sealed class Reader(SafeFileHandle file, string path, long most, int large)
    {
        private const string Format = "static delta";
        private readonly long limit = most;
        private long left = most;

        public byte[] Bytes(long from, long to, long end)
        {
            if (from < 0 || from > to || to > end)
                throw new MalformedException(Format, "offset", $"{from} to {end}", $"{to}");
            if ((left -= to - from) < 0)
                throw new MalformedException(Format, "size", $"at most {limit} bytes beside its parts", "more");
            var bytes = new byte[to - from];
            for (int filled = 0, read; filled < bytes.Length; filled += read)
            {
                read = Linux.Files.ReadAt(file, bytes.AsSpan(filled), from + filled, path);
                if (read == 0)
                    throw new MalformedException(Format, "size", $"{to} bytes", $"{from + filled}");
            }

            return bytes;
        }

        public long Offset(long at, int size, long end)
        {
            if (size == 0)
                throw new MalformedException(Format, "size", "room for offsets", "none");
            long offset = GVariantFraming.ReadOffset(Bytes(at, at + size, at + size), 0, size);
            return offset <= end ? offset : throw new MalformedException(Format, "offset", $"at most {end}", $"{offset}");
        }

        public GVariant Metadata(GVariantType type, long size, Dictionary<string, (long At, long Size)> parts)
        {
            if (size == 0)
                return GVariant.Array(type.Children[0], []);
            var small = new List<GVariant>();
            int offsetSize = GVariantFraming.OffsetSize(size);
            long body = Offset(size - offsetSize, offsetSize, size - offsetSize), at = 0;
            byte[] offsets = Bytes(body, size, size);
            if (offsets.Length % offsetSize != 0)
                throw new MalformedException(Format, "offsets", $"a multiple of {offsetSize} bytes", $"{offsets.Length}");
            for (int i = 0; i < offsets.Length; i += offsetSize)
            {
                long start = GVariantFraming.Align(at, type.Alignment);
                at = GVariantFraming.ReadOffset(offsets, i, offsetSize);
                if (at > body || start > at)
                    throw new MalformedException(Format, "offset", $"{start} to {body}", $"{at}");
                if (at - start < large || !TryPart(start, at, parts))
                    small.Add(GVariant.Parse(type.Children[0], Bytes(start, at, body)));
            }

            return GVariant.Array(type.Children[0], small);
        }

        // An entry's key, then a variant, then where the key ends. False where the variant is something else than a part.
        private bool TryPart(long start, long end, Dictionary<string, (long At, long Size)> parts)
        {
            int offsetSize = GVariantFraming.OffsetSize(end - start);
            long valueEnd = end - offsetSize - TypeOfPart.Length;
            long keySize = Offset(end - offsetSize, offsetSize, end - start);
            if (keySize > LongestKey || !Bytes(valueEnd, end - offsetSize, end).AsSpan().SequenceEqual(TypeOfPart))
                return false;
            string key = GVariantFraming.Text(Bytes(start, start + keySize, end), Format);
            long valueAt = GVariantFraming.Align(start + keySize, 8);
            return parts.TryAdd(key, (valueAt, valueEnd - valueAt)); // of two of one name the first counts
        }
    }
}
