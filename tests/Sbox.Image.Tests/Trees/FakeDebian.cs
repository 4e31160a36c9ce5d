using System.Globalization;
using Sbox.Linux;

namespace Sbox.Image.Tests;

/// <summary>A tree as dpkg leaves it, of a few dozen files: what every step of the transformation has to find.</summary>
internal static class FakeDebian
{
    public const string Kernel = "6.12.1-amd64";

    /// <summary>Makes it; the tests run as root, as a build does.</summary>
    public static TreeRoot Make(string path)
    {
        Directory.CreateDirectory(path);
        var tree = new TreeRoot(path);
        foreach (string name in (string[])["bin", "sbin", "lib"])
        {
            tree.MakeDirs($"usr/{name}");
            tree.Link(name, $"usr/{name}");
        }

        foreach (string name in (string[])["boot", "dev", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys", "tmp", "usr/local/bin", $"usr/lib/modules/{Kernel}"])
            tree.MakeDirs(name);
        Fill(tree);
        return tree;
    }

    private static void Fill(TreeRoot tree)
    {
        tree.Write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nman:x:6:12:man:/var/cache/man:/usr/sbin/nologin\nnetwork:x:998:998:Network Manager:/:/usr/sbin/nologin\n");
        tree.Write("etc/group", "root:x:0:\nman:x:12:\nadm:x:4:man\nnetwork:x:998:\n");
        foreach (string file in (string[])["etc/passwd-", "etc/.pwd.lock", "etc/fstab", "etc/resolv.conf", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_config", "etc/machine-id"])
            tree.Write(file, "something\n");
        tree.Write("usr/bin/dracut", "#!/bin/sh\n", 0x1ED); // no shell is there to run it
        tree.Write("root/.bashrc", "# root's\n");
        tree.Write("opt/vendor/tool", "#!/bin/sh\n", 0x1ED);
        tree.Write("var/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n");
        tree.Write("var/lib/dpkg/status-old", "old\n");
        tree.Write("var/lib/apt/extended_states", "states\n");
        tree.Write("var/lib/apt/lists/mirror_Packages", "a long list\n");
        tree.Write("var/log/dpkg.log", "today\n");
        tree.Write("var/cache/man/index.db", "cache\n");
        tree.Dir.ChangeOwner("var/cache/man", 6, 12);
        tree.Dir.ChangeMode("var/cache/man", Convert.ToUInt32("2755", 8));
        tree.Write("var/lib/game/scores", "0\n"u8, 0x1B4, uid: 6, gid: 998);
        tree.Write("var/lib/game/50% of all", "half\n");
        tree.Link("var/run", "/run");
        tree.Link("var/spool/mail", "../mail");
        tree.MakeDirs("var/mail");
        tree.Write("usr/lib/tmpfiles.d/var.conf", "# var\nL /var/run - - - - ../run\nd /var/log 0755 - - -\nz /var/mail 2775 root root -\n");
        tree.Write("usr/lib/tmpfiles.d/home.conf", "Q /home 0755 - - -\nq /srv 0755 - - -\nd- /root :0700 root :root -\nf^ /root/.ssh/authorized_keys :0600 root :root - key\n");
        tree.Write("usr/lib/sysusers.d/network.conf", "u! network - \"Network Manager\"\n");
        tree.Write("usr/lib/python3/x.pyc", "compiled\n");
        tree.Write("usr/bin/su", "su\n", Convert.ToUInt32("4755", 8));
        tree.Write("usr/lib/os-release", "ID=debian\nVERSION_ID=\"13\"\n");
        tree.Write($"boot/vmlinuz-{Kernel}", "kernel\n");
        tree.Write($"boot/config-{Kernel}", "CONFIG_EROFS_FS=y\n");
        tree.Write("boot/System.map-" + Kernel, "map\n");
    }

    /// <summary>The tree as a list: path, kind or mode, owner, link target or content.</summary>
    public static string Listing(TreeRoot tree) => string.Join('\n', tree.Below(".").Select(entry => Line(tree, entry.Path[2..], entry.Stat)).Order(StringComparer.Ordinal));

    private static string Line(TreeRoot tree, string path, FileStat stat)
    {
        string mode = string.Create(CultureInfo.InvariantCulture, $"{Convert.ToString(stat.Permissions, 8).PadLeft(4, '0')} {stat.Uid}:{stat.Gid}");
        return stat.Kind switch
        {
            FileKind.Symlink => $"{path} -> {tree.Dir.ReadLink(path)}",
            FileKind.Directory => $"{path}/ {mode}",
            _ => $"{path} {mode} {stat.Size}",
        };
    }
}
