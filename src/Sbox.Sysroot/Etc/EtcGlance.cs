using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Reads a deployment's /etc and its defaults side by side and keeps only what is not alike. `sbox status` shows a number and waits for nothing but the kernel's answers, hundreds of directories' and thousands
/// of files': each is asked for once.
/// </summary>
internal static class EtcGlance
{
    // Stands for bytes that are not the default's, whatever they are.
    private static readonly Checksum Changed = Checksum.Of("changed"u8);

    /// <summary>Both trees without what is alike in them: same kind, mode and owner, and the same size and time or the same bytes.</summary>
    /// <param name="defaults">The deployment's <c>usr/etc</c>.</param>
    /// <param name="local">The deployment's <c>etc</c>.</param>
    /// <exception cref="LinuxException">Something could not be read. What vanishes while reading is as if it had not been there.</exception>
    public static (EtcNode Defaults, EtcNode Local) Unlike(Dir defaults, Dir local)
    {
        Dictionary<string, EtcNode> before = [], mine = [];
        Unlike(defaults, local, before, mine);
        return (Top(defaults, before), Top(local, mine));

        static EtcNode Top(Dir dir, Dictionary<string, EtcNode> children) => new(EntryOf(dir.Stat(), default), children);
    }

    private static void Unlike(Dir defaults, Dir local, Dictionary<string, EtcNode> before, Dictionary<string, EtcNode> mine)
    {
        IReadOnlyList<DirEntry> theirs = defaults.EntriesOnce(), here = local.EntriesOnce();
        for (int left = 0, right = 0; left < theirs.Count || right < here.Count;)
        {
            int order = left == theirs.Count ? 1 : right == here.Count ? -1 : Dir.CompareNames(theirs[left].Name, here[right].Name);
            if (order == 0)
                Pair(defaults, local, theirs[left].Name, before, mine);
            else
                Alone(order < 0 ? defaults : local, (order < 0 ? theirs[left] : here[right]).Name, order < 0 ? before : mine);
            left += order <= 0 ? 1 : 0;
            right += order >= 0 ? 1 : 0;
        }
    }

    private static void Pair(Dir defaults, Dir local, string name, Dictionary<string, EtcNode> before, Dictionary<string, EtcNode> mine)
    {
        if (defaults.TryStat(name) is not { } theirs || local.TryStat(name) is not { } here || theirs.Kind != here.Kind)
        {
            Alone(defaults, name, before);
            Alone(local, name, mine);
            return;
        }

        EtcEntry was = EntryOf(theirs, default), now = EntryOf(here, IsAlike(defaults, local, name, theirs, here) ? default : Changed);
        if (!theirs.IsDirectory)
        {
            if (was != now)
                Add(EtcNode.NoChildren, EtcNode.NoChildren);
            return;
        }

        Dictionary<string, EtcNode> inBefore = [], inMine = [];
        if (defaults.TryOpenDir(name) is { } inTheirs)
        {
            using (inTheirs)
            {
                using Dir? inHere = local.TryOpenDir(name);
                if (inHere is null)
                {
                    Alone(defaults, name, before);
                    return;
                }

                Unlike(inTheirs, inHere, inBefore, inMine);
            }
        }

        if (was != now || inBefore.Count > 0 || inMine.Count > 0)
            Add(inBefore, inMine);

        void Add(IReadOnlyDictionary<string, EtcNode> belowBefore, IReadOnlyDictionary<string, EtcNode> belowMine)
        {
            before.Add(name, new EtcNode(was, belowBefore));
            mine.Add(name, new EtcNode(now, belowMine));
        }
    }

    // /etc is alive while it is read: what was stated a moment ago may be gone, and then it is not the default's.
    private static bool IsAlike(Dir defaults, Dir local, string name, FileStat theirs, FileStat here)
    {
        if (!(theirs.IsRegular || theirs.IsSymlink))
            return true;
        if (theirs.Size != here.Size)
            return false;
        if ((theirs.ModifiedSeconds, theirs.ModifiedNanoseconds) == (here.ModifiedSeconds, here.ModifiedNanoseconds))
            return true;
        try
        {
            return theirs.IsSymlink ? local.ReadLink(name) == defaults.ReadLink(name) : local.ReadAll(name).AsSpan().SequenceEqual(defaults.ReadAll(name));
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return false;
        }
    }

    private static void Alone(Dir dir, string name, Dictionary<string, EtcNode> into)
    {
        if (EtcTree.ReadOne(dir, name, static (_, _, _, _) => default) is { } node)
            into.Add(name, node);
    }

    private static EtcEntry EntryOf(FileStat stat, Checksum content) => new(stat.Kind, stat.IsSymlink ? 0 : stat.Permissions, stat.Uid, stat.Gid, content);
}
