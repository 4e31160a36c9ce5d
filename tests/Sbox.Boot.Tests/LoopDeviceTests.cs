using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

/// <summary>The way for kernels whose EROFS mounts block devices only. Needs root.</summary>
public sealed class LoopDeviceTests
{
    [Fact]
    public void A_file_reads_the_same_through_its_loop_device_which_lets_go_at_the_end()
    {
        byte[] bytes = new byte[8192];
        Random.Shared.NextBytes(bytes);
        string path = Path.GetTempFileName();
        File.WriteAllBytes(path, bytes);
        string backing;
        using (SafeFileHandle file = File.OpenHandle(path))
        {
            (SafeFileHandle device, string devicePath) = LoopDevice.Attach(file, path);
            using (device)
            {
                backing = $"/sys/block/{Path.GetFileName(devicePath)}/loop/backing_file";
                Assert.Equal(path, File.ReadAllText(backing).Trim());
                byte[] read = new byte[bytes.Length];
                Assert.Equal(read.Length, RandomAccess.Read(device, read, 0));
                Assert.Equal(bytes, read);
            }
        }

        File.Delete(path);
        // A child that another test starts holds the descriptor from its fork to its exec.
        Assert.True(SpinWait.SpinUntil(() => !Has(backing, path), TimeSpan.FromSeconds(60)));
    }

    private static bool Has(string backing, string path)
    {
        try
        {
            return File.ReadAllText(backing).StartsWith(path, StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false; // it has let go: of its name before, or while it was read
        }
    }
}
