using System.Diagnostics;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>A tomb as dyne's Tomb makes them: LUKS1 by qemu-img, with the same cipher and hash, around an ext4; its key sealed by gpg.</summary>
public sealed class DyneImportTests
{
    private const string Contents = "find . -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 sha256sum; find . -path ./lost+found -prune -o -printf '%p %y %m %U %G %l\\n' | sort";

    [Fact]
    public void It_comes_into_the_tomb_whole_and_is_only_read()
    {
        using var place = new Place();
        string disk = Make(place, "aes-256");
        string before = Listing.Sh(place.Path, $"sha256sum {disk}")[0];
        SboxProgram.Tomb(place, "create");
        string said = SboxProgram.Tomb(place, "import", disk, "--key-password-file", place["key password"]);
        Assert.Contains("verified", said, StringComparison.Ordinal);
        Assert.Equal(before, Listing.Sh(place.Path, $"sha256sum {disk}")[0]);
        place.Restic("restore", "latest", "--target", place["out"]);
        string home = Path.GetFileNameWithoutExtension(disk);
        Assert.Equal(Listing.Sh(place["home"], Contents), Listing.Sh($"{place["out"]}/run/sbox/import/{home}", Contents));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.Contains(home, StringComparison.Ordinal));
    }

    [Fact]
    public void What_cannot_be_opened_is_said_and_leaves_nothing()
    {
        using var place = new Place();
        string disk = Make(place, "aes-128");
        SboxProgram.Tomb(place, "create");
        File.WriteAllText(place["wrong"], "no\n");
        Assert.Contains("gpg does not open it", Refused(place, disk, "--key-password-file", place["wrong"]), StringComparison.Ordinal);
        Assert.Contains("there is no such key", Refused(place, disk, "--key", place["nowhere"], "--key-password-file", place["wrong"]), StringComparison.Ordinal);
        Listing.Sh(place.Path, $"printf other | gpg --batch --pinentry-mode loopback --passphrase no --symmetric -o other.key 2>/dev/null");
        Assert.Contains("this key does not open it", Refused(place, disk, "--key", place["other.key"], "--key-password-file", place["wrong"]), StringComparison.Ordinal);
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.Contains(Path.GetFileNameWithoutExtension(disk), StringComparison.Ordinal));
    }

    [Fact]
    public void Whoever_deciphers_can_be_killed_at_any_time_and_the_next_one_clears_up()
    {
        using var place = new Place();
        string disk = Make(place, "aes-256");
        string at = place["seen"];
        for (int round = 0; round < 2; round++)
        {
            using Process server = Served(place, disk, at);
            Assert.Equal(["hello"], Listing.Sh(place.Path, "cat seen/plain"));
            server.Kill();
            Assert.True(server.WaitForExit(TimeSpan.FromSeconds(20)));
            Listing.Sh(place.Path, "echo 3 > /proc/sys/vm/drop_caches; timeout -s KILL 20 cat seen/big > /dev/null", seconds: 60);
        }

        using Process last = Served(place, disk, at);
        last.StandardInput.Close(); // as when whoever started it dies
        Assert.True(last.WaitForExit(TimeSpan.FromSeconds(20)));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
    }

    [Fact]
    public void A_header_that_asks_for_the_impossible_is_refused()
    {
        using var place = new Place();
        byte[] header = File.ReadAllBytes(Make(place, "aes-256"))[..Luks1Header.Size];
        Assert.Equal(("aes", "xts-plain64", "sha512", 64), (Luks1Header.Parse(header).Cipher, Luks1Header.Parse(header).Mode, Luks1Header.Parse(header).Hash, Luks1Header.Parse(header).KeyLength));
        foreach ((int offset, byte value) in new[] { (0, (byte)'l'), (7, (byte)2), (108, (byte)1), (164, (byte)0xFF), (208 + 4, (byte)0xFF), (208 + 44, (byte)0xFF) })
        {
            byte[] damaged = [.. header];
            damaged[offset] = value;
            Assert.Throws<MalformedException>(() => Luks1Header.Parse(damaged));
        }

        Assert.Throws<MalformedException>(() => Luks1Header.Parse(header.AsSpan(0, 500)));
    }

    private static string Make(Place place, string cipher)
    {
        HomeTree.Make(place["home"]);
        string disk = place[$"{Path.GetFileName(place.Path)}.tomb"];
        Assert.Empty(Listing.Sh(place.Path, $"""
            set -e
            printf 'key password\n' > 'key password'; head -c 384 /dev/urandom | base64 -w 0 > secret
            gpg --batch --pinentry-mode loopback --passphrase-file 'key password' --symmetric --armor -o {disk}.key secret 2> /dev/null
            truncate -s 48M plain.img; mkfs.ext4 -q -d home plain.img
            qemu-img convert --object secret,id=key,file=secret -f raw -O luks -o key-secret=key,cipher-alg={cipher},cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha512,iter-time=50 plain.img {disk}
            rm plain.img
            """));
        return disk;
    }

    private static string Refused(Place place, params string[] arguments)
    {
        (int code, string output, string error) = SboxProgram.Run(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, "import", .. arguments]);
        Assert.True(code == 1, $"{code}\n{output}{error}");
        return error;
    }

    private static Process Served(Place place, string disk, string at)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "sbox.dll"), "tomb", "luks", disk, "--at", at]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        Process server = Process.Start(start)!;
        byte[] key = File.ReadAllBytes(place["secret"]);
        server.StandardInput.BaseStream.Write([(byte)(key.Length >> 24), (byte)(key.Length >> 16), (byte)(key.Length >> 8), (byte)key.Length, .. key]);
        server.StandardInput.BaseStream.Flush();
        Assert.Equal("open", server.StandardOutput.ReadLine());
        return server;
    }
}
