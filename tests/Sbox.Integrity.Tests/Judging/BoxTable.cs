using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Integrity.Tests;

/// <summary>The mounts of a box, as its kernel tells them, with changes for one test each.</summary>
internal static class BoxTable
{
    public const string Text = """
        30 1 0:27 / / ro,relatime - overlay overlay ro,lowerdir=/run/sbox/image,datadir+=/sysroot/ostree/repo/objects,metacopy=on
        31 30 254:2 /ostree/deploy/debian/deploy/aa.0/etc /etc rw,relatime - ext4 /dev/vda2 rw
        32 30 254:2 /ostree/deploy/debian/var /var rw,relatime - ext4 /dev/vda2 rw
        33 30 254:2 /boot /boot ro,relatime - ext4 /dev/vda2 rw
        34 30 254:2 / /sysroot ro,relatime - ext4 /dev/vda2 rw
        35 30 0:6 / /dev rw,nosuid - devtmpfs udev rw
        36 30 0:24 / /run rw,nosuid,nodev - tmpfs tmpfs rw
        37 30 0:22 / /proc rw,nosuid - proc proc rw
        38 30 0:30 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw
        """;

    public static SentinelPolicy Policy { get; } = LoadedPolicy.Load(SourceTree.Of("packaging", "sentinel", "sentinel.d"), "/nowhere").Policy;

    public static SystemFacts Facts { get; } = SystemFacts.Of(Policy, Mounts(), 1, static _ => new HashSet<string> { "254:0", "254:1", "254:2" });

    public static IReadOnlyList<MountEntry> Mounts(params string[] more) => MountTable.Parse(string.Join('\n', [Text, .. more]));

    public static IReadOnlyList<MountEntry> Changed(string from, string to) => MountTable.Parse(Text.Replace(from, to, StringComparison.Ordinal));

    public static IReadOnlyList<Finding> News(IReadOnlyList<MountEntry> after, uint number = 1, string? by = null, bool isSbox = false) =>
        MountJudge.Compare(Policy, Facts, new NamespaceView(number, Mounts(), false), new NamespaceView(number, after, isSbox), by);
}
