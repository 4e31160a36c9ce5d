using Sbox.Linux;

namespace Sbox.Image;

/// <summary>Runs a program of the tree, with the tree as its root and nothing of the builder's but the kernel.</summary>
internal static class InTree
{
    // Its own mount namespace takes all of this along when it ends. The devices are those that every program may count on.
    private const string Enter = """
        set -e
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount -t sysfs -o ro sysfs "$root/sys"
        for place in run tmp dev; do mount -t tmpfs tmpfs "$root/$place"; done
        for node in null zero full random urandom; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
        ln -s /proc/self/fd "$root/dev/fd"
        exec chroot "$root" "$@"
        """;

    public static ChildCommand Command(TreeRoot tree, string program, IReadOnlyList<string> arguments, long sourceDateEpoch) =>
        ChildProcess.InOwnNamespaces(new ChildCommand("sh", ["-c", Enter, "sh", tree.Path, program, .. arguments])
        {
            Title = program,
            Environment = new Dictionary<string, string>
            {
                ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin",
                ["SOURCE_DATE_EPOCH"] = $"{sourceDateEpoch}",
                ["SYSTEMD_OFFLINE"] = "1",
            },
        });
}
