namespace Sbox.Image;

/// <summary>
/// Makes an installed Debian immutable: /usr holds all, /etc becomes /usr/etc, /var and every other place that a box writes to is empty
/// and made again at boot. Only file operations, in an order that each step's doc explains; docs/architecture.md has the layout.
/// </summary>
internal static class ImmutableTree
{
    /// <summary>Transforms the tree in place. The kernel, the initrd and the recipe's files are in it already.</summary>
    /// <param name="tree">A tree as dpkg leaves it, usr-merged.</param>
    /// <param name="tmp">Where /tmp is on the box.</param>
    /// <exception cref="BuildFailedException">The tree holds something that an immutable tree cannot.</exception>
    public static void Make(TreeRoot tree, TmpPlace tmp)
    {
        RequireUsrMerge(tree);
        MachineTraces.Remove(tree);

        // The database is named by links in /var, so it must leave before /var is described.
        PackageState.MoveToUsr(tree);
        TopLevel.MoveHomesToVar(tree);
        var names = new TreeNames(tree);
        TreeUsers.Describe(tree, names);
        VarState.MoveToUsr(tree, names, tmp);
        TopLevel.Lay(tree, tmp);

        // Last: until here everything finds /etc where programs name it.
        MoveEtc(tree);
        RequireNoDevices(tree);
    }

    private static void RequireUsrMerge(TreeRoot tree)
    {
        foreach (string name in (string[])["bin", "sbin", "lib"])
        {
            if (tree.Stat(name) is not { IsSymlink: true })
                throw new BuildFailedException("immutable tree", $"/{name} is no link into /usr; only usr-merged suites (Debian 12 and newer) can be immutable");
        }
    }

    private static void MoveEtc(TreeRoot tree)
    {
        tree.Remove("usr/etc");
        tree.Move("etc", "usr/etc");
    }

    private static void RequireNoDevices(TreeRoot tree)
    {
        foreach ((string path, Linux.FileStat stat) in tree.Below("usr"))
        {
            if (stat.Kind is Linux.FileKind.CharacterDevice or Linux.FileKind.BlockDevice or Linux.FileKind.Fifo or Linux.FileKind.Socket)
                throw new BuildFailedException("immutable tree", $"/{path} is a {stat.Kind}, which a commit cannot hold");
        }
    }
}
