using Sbox.Boot;

namespace Sbox.Image.Tests.Trees;

public sealed class KernelModuleSetTests : IDisposable
{
    private const string Kernel = "6.12-test", Modules = $"usr/lib/modules/{Kernel}";
    private readonly TempDirectory directory = new();
    private readonly TreeRoot tree;

    public KernelModuleSetTests()
    {
        Directory.CreateDirectory(directory.Of("tree"));
        tree = new TreeRoot(directory.Of("tree"));
        tree.Write($"{Modules}/modules.dep", """
            kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz
            kernel/fs/jbd2/jbd2.ko.xz:
            kernel/fs/mbcache.ko.xz:
            kernel/crypto/crc32c_generic.ko.xz:
            kernel/arch/x86/crypto/crc32c-intel.ko.xz:
            kernel/drivers/block/virtio_blk.ko.xz:
            kernel/drivers/net/e1000.ko.xz:

            """);
        tree.Write($"{Modules}/modules.softdep", "# comment\nsoftdep ext4 pre: crypto-crc32c\nsoftdep e1000 post: jbd2\n");
        tree.Write($"{Modules}/modules.alias", "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias fs-ext4 ext4\nalias virtio:d00000002v* virtio_blk\nalias pci:v00008086d* e1000\n");
        tree.Write($"{Modules}/modules.builtin", "kernel/drivers/virtio/virtio_pci.ko\n");
    }

    [Fact]
    public void Drivers_bring_what_they_need_and_the_crypto_that_is_only_wished_for()
    {
        ModuleIndex index = Choose("ext4");
        Assert.Equal(["jbd2", "mbcache", "crc32c_intel", "crc32c_generic", "ext4"], index.LoadOrder("ext4"));
    }

    [Fact]
    public void Only_devices_of_chosen_drivers_are_known()
    {
        ModuleIndex index = Choose("virtio-blk", "virtio_pci", "not_in_this_kernel");
        Assert.Equal(["virtio_blk"], index.For("virtio:d00000002v00001AF4"));
        Assert.Empty(index.For("pci:v00008086d00001234"));
        Assert.Equal("usr/lib/modules/6.12-test/kernel/drivers/block/virtio_blk.ko.xz", new KernelModuleSet(tree, Kernel).FileOf("virtio_blk"));
    }

    [Fact]
    public void A_driver_that_the_recipe_asks_for_must_be_there()
    {
        Assert.Equal(
            "initrd: the recipe wants the driver 'nvmee' in the initrd, and kernel 6.12-test has none of this name",
            Assert.Throws<BuildFailedException>(() => new KernelModuleSet(tree, Kernel).Choose([], ["nvmee"])).Message);
        Assert.Empty(new KernelModuleSet(tree, Kernel).Choose([], ["virtio_pci"]).Modules);
    }

    public void Dispose()
    {
        tree.Dispose();
        directory.Dispose();
    }

    private ModuleIndex Choose(params string[] drivers) => new KernelModuleSet(tree, Kernel).Choose(drivers, []);
}
