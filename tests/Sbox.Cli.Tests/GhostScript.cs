namespace Sbox.Cli.Tests;

/// <summary>A script for <see cref="RunningBox"/>: from here on it is a ghost, whose /etc and /var lie in memory over what its disk has.</summary>
internal static class GhostScript
{
    public const string Begin = """
        os=/sysroot/ostree/deploy/debian deployment=$(ls -d /sysroot/ostree/deploy/debian/deploy/*.0)
        mount -o remount,bind,rw /sysroot; umask 022
        mkdir -p $os/var/tmp $deployment/etc; cp -a /etc/ld.so.cache /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs $deployment/etc/
        echo hello > $deployment/etc/motd-of-the-disk
        mount -o remount,bind,ro /sysroot
        echo "$(cat /run/cmdline) sbox.ghost" > /run/cmdline
        mkdir -p /run/sbox/ghost; mount -t tmpfs tmpfs /run/sbox/ghost; mkdir -p /run/sbox/ghost/{etc,var}/{upper,work}
        mount -t overlay etc -o redirect_dir=on,lowerdir=$deployment/etc,upperdir=/run/sbox/ghost/etc/upper,workdir=/run/sbox/ghost/etc/work /etc
        mount -t overlay var -o redirect_dir=on,lowerdir=$os/var,upperdir=/run/sbox/ghost/var/upper,workdir=/run/sbox/ghost/var/work /var

        """;
}
