namespace Sbox.Conformance;

/// <summary>Which of libostree's tests are run: those of repositories, by what they are about, and those of hosts.</summary>
public static class Suite
{
    /// <summary>Class and tests.</summary>
    public static IReadOnlyList<(string Class, string[] Tests)> All { get; } =
    [
        ("basic", ["test-basic.sh", "test-basic-root.sh", "test-basic-user.sh", "test-basic-user-only.sh", "test-basic-bare-split-xattrs.sh", "test-help.sh", "test-parent.sh", "test-local-pull.sh", "test-local-pull-depth.sh", "test-oldstyle-partial.sh", "test-cli-extensions.sh", "test-commit-timestamp.sh", "test-demo-buildsystem.sh"]),
        ("archive", ["test-archivez.sh", "test-backcompat-fsck.sh"]),
        ("refs", ["test-refs.sh", "test-reset-nonlinear.sh"]),
        ("prune", ["test-prune.sh"]),
        ("fsck", ["test-fsck-delete.sh", "test-corruption.sh"]),
        ("export", ["test-export.sh"]),
        ("xattrs", ["test-xattrs.sh"]),
        ("libarchive", ["test-libarchive.sh"]),
        ("payload-link", ["test-payload-link.sh"]),
        ("concurrency", ["test-concurrency.py"]),
        ("config", ["test-config.sh", "test-remote-add.sh"]),
        ("summary", ["test-summary-view.sh", "test-summary-update.sh", "test-auto-summary.sh"]),
        ("sign", ["test-signed-commit-dummy.sh", "test-commit-sign.sh", "test-gpg-signed-commit.sh", "test-signed-pull.sh", "test-pre-signed-pull.sh", "test-signed-pull-summary.sh", "test-remote-gpg-import.sh", "test-remote-gpg-list-keys.sh"]),
        ("delta", ["test-delta.sh", "test-delta-sign.sh", "test-delta-ed25519.sh"]),
        ("collections", ["test-init-collections.sh", "test-refs-collections.sh", "test-prune-collections.sh", "test-fsck-collections.sh", "test-summary-collections.sh", "test-remote-add-collections.sh"]),
        ("finders", ["test-find-remotes.sh", "test-create-usb.sh"]),
        ("composefs", ["test-composefs.sh"]),
        ("admin", ["test-admin-boot-counting-tries.sh", "test-admin-deploy-2.sh", "test-admin-deploy-bootid-gc.sh", "test-admin-deploy-bootprefix.sh", "test-admin-deploy-clean.sh", "test-admin-deploy-composefs.sh", "test-admin-deploy-emptyetc.sh", "test-admin-deploy-etcmerge-cornercases.sh", "test-admin-deploy-grub2.sh", "test-admin-deploy-karg.sh", "test-admin-deploy-nomerge.sh", "test-admin-deploy-none.sh", "test-admin-deploy-switch.sh", "test-admin-deploy-syslinux.sh", "test-admin-deploy-uboot.sh", "test-admin-deploy-var.sh", "test-admin-deploy-whiteouts.sh", "test-admin-gpg.sh", "test-admin-instutil-set-kargs.sh", "test-admin-kargs.sh", "test-admin-locking.sh", "test-admin-pull-deploy-commit.sh", "test-admin-pull-deploy-split.sh", "test-admin-stateroot.sh", "test-admin-upgrade-endoflife.sh", "test-admin-upgrade-not-backwards.sh", "test-admin-upgrade-systemd-update.sh", "test-admin-upgrade-unconfigured.sh", "test-no-initramfs.sh", "test-osupdate-dtb.sh"]),
        ("pull", ["test-pull-depth.sh", "test-pull-repeated.sh", "test-pull-commit-only.sh", "test-pull-untrusted.sh", "test-pull-large-metadata.sh", "test-pull-bareuser.sh", "test-pull-override-url.sh", "test-pull-bare.sh", "test-pull-bareuseronly.sh", "test-pull-mirror-summary.sh", "test-pull-summary-sigs.sh", "test-pull-resume.sh", "test-pull-subpath.sh", "test-pull-sizes.sh", "test-pull-corruption.sh", "test-pull-localcache.sh", "test-pull-collections.sh", "test-pull-contenturl.sh", "test-pull-mirrorlist.sh", "test-pull-metalink.sh", "test-pull-basicauth.sh", "test-remote-headers.sh", "test-remote-cookies.sh", "test-remote-refs.sh", "test-pull-summary-caching.sh", "test-pull2-bareuseronly.sh"]),
    ];
}
