using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>What <c>show</c> prints of objects that are no commits; as libostree prints it.</summary>
internal static class ObjectPage
{
    /// <summary>A directory's names, its owner, or a file.</summary>
    /// <returns>Null where there is a commit by that name, or nothing.</returns>
    public static string? Of(Repository repository, Checksum checksum, bool raw, bool swap)
    {
        if (repository.Has(new ObjectName(checksum, ObjectType.Commit)))
            return null;
        foreach ((ObjectType type, string word, string variant) in ((ObjectType, string, string)[])[(ObjectType.DirTree, "dirtree", "(a(say)a(sayay))"), (ObjectType.DirMeta, "dirmeta", "(uuua(ayay))")])
        {
            var name = new ObjectName(checksum, type);
            if (repository.Has(name))
                return $"{word} {checksum}\n{(raw ? Text(variant, repository.LoadMetadata(name), swap) + "\n" : "")}";
        }

        return repository.Has(new ObjectName(checksum, ObjectType.File)) ? OfFile(repository.LoadFile(checksum)) : null;
    }

    /// <summary>Any file as a GVariant of a type.</summary>
    public static string OfFile(string path, string type)
    {
        try
        {
            return Text(type, RepositoryCommand.ReadFile(path), swap: true);
        }
        catch (FormatException unreadable)
        {
            throw new Finding($"{path}: no GVariant of type '{type}': {unreadable.Message}", "the type of a summary is (a(s(taya{sv}))a{sv})");
        }
    }

    private static string Text(string type, byte[] bytes, bool swap) => GVariant.Parse(type, bytes) is var value && swap ? value.ByteSwapped().ToString() : value.ToString();

    private static string OfFile(FileObject file)
    {
        bool isLink = file.Mode.IsSymlink;
        return $"Object: {file.Checksum}\nType: file\nFile Type: {(isLink ? "symlink" : "regular")}\n" +
            (isLink ? $"Target: {file.SymlinkTarget}\n" : $"Size: {file.Size}\n") +
            $"Mode: 0{Convert.ToString(file.Mode.Bits, 8)}\nUid: {file.Uid}\nGid: {file.Gid}\nExtended Attributes: {{ {file.Xattrs} }}\n";
    }
}
