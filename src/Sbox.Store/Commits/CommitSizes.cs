using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>An object's size, as a commit's metadata has it.</summary>
/// <param name="Name">The object.</param>
/// <param name="Stored">Bytes in mode archive.</param>
/// <param name="Unpacked">Bytes of its content.</param>
public readonly record struct ObjectSize(ObjectName Name, long Stored, long Unpacked);

/// <summary>The sizes of all objects of a commit, in its metadata: by it a client knows what a pull will cost before it begins.</summary>
/// <remarks>docs/formats/commit.md: <c>aay</c>, sorted; each a checksum, two numbers of seven bits a byte (size as stored, size unpacked), and the object's type.</remarks>
internal static class CommitSizes
{
    public const string Key = "ostree.sizes";

    /// <summary>The sizes of what a tree of mode archive needs.</summary>
    public static GVariant Of(Transaction transaction, Checksum tree, Checksum meta, CancellationToken cancel)
    {
        var found = new SortedDictionary<Checksum, byte[]>();
        AddMetadata(new ObjectName(meta, ObjectType.DirMeta));
        var waiting = new Stack<Checksum>([tree]);
        while (waiting.TryPop(out Checksum next))
        {
            cancel.ThrowIfCancellationRequested();
            if (!AddMetadata(new ObjectName(next, ObjectType.DirTree)))
                continue;
            DirTree names = transaction.LoadDirTree(next);
            foreach (DirTreeFile file in names.Files.Where(file => !found.ContainsKey(file.Content)))
            {
                var name = new ObjectName(file.Content, ObjectType.File);
                FileObject loaded = transaction.LoadArchived(file.Content);
                found[file.Content] = Entry(name, transaction.StoredSize(name), loaded.SymlinkTarget is { } target ? Linux.FileName.ToBytes(target).Length : loaded.Size);
            }

            foreach (DirTreeDirectory inner in names.Directories)
            {
                AddMetadata(new ObjectName(inner.Meta, ObjectType.DirMeta));
                waiting.Push(inner.Tree);
            }
        }

        return GVariant.Array(GVariantType.Parse("ay"), [.. found.Values.Select(GVariant.Of)]);

        bool AddMetadata(ObjectName name)
        {
            if (found.ContainsKey(name.Checksum))
                return false;
            long size = transaction.StoredSize(name);
            found[name.Checksum] = Entry(name, size, size);
            return true;
        }
    }

    /// <summary>Reads what <see cref="Of"/> wrote.</summary>
    /// <exception cref="MalformedException">An entry is cut short, or a number is larger than any size.</exception>
    public static IEnumerable<ObjectSize> Parse(GVariant sizes)
    {
        foreach (GVariant entry in sizes.Items)
        {
            byte[] bytes = entry.Bytes;
            if (bytes.Length < Checksum.Size + 2)
                throw new MalformedException("commit", Key, $"at least {Checksum.Size + 2} bytes", $"{bytes.Length}");
            int at = Checksum.Size;
            long stored = Number(bytes, ref at), unpacked = Number(bytes, ref at);
            // Older commits say nothing of the type.
            ObjectType type = at < bytes.Length && Enum.IsDefined((ObjectType)bytes[at]) ? (ObjectType)bytes[at] : ObjectType.File;
            yield return new ObjectSize(new ObjectName(Checksum.FromBytes(bytes.AsSpan(0, Checksum.Size)), type), stored, unpacked);
        }
    }

    private static byte[] Entry(ObjectName name, long stored, long unpacked)
    {
        var bytes = new List<byte>(name.Checksum.ToArray());
        foreach (long number in (long[])[stored, unpacked])
        {
            long left = number;
            for (; left >= 0x80; left >>= 7)
                bytes.Add((byte)(0x80 | (left & 0x7F)));
            bytes.Add((byte)left);
        }

        bytes.Add((byte)name.Type);
        return [.. bytes];
    }

    private static long Number(byte[] bytes, ref int at)
    {
        long number = 0;
        for (int shift = 0; shift < 63; shift += 7)
        {
            if (at >= bytes.Length)
                throw new MalformedException("commit", Key, "a whole number", "one that is cut short");
            byte next = bytes[at++];
            number |= (long)(next & 0x7F) << shift;
            if (next < 0x80)
                return number;
        }

        throw new MalformedException("commit", Key, "a size", "more than 63 bits");
    }
}
