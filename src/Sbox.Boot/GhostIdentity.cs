using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Whom a ghost says it is: somebody new at each boot. A machine-id and a host name go to its /etc, which is memory; what gives network cards addresses of their own goes
/// to /run. All of it before systemd starts, since that reads the first two at once.
/// </summary>
internal static class GhostIdentity
{
    private const string MachineId = "machine-id", HostName = "hostname";
    private const uint ForAll = 0x124; // 0444
    private const string Letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    private const int NameLength = 7;

    // The names are what systemd.link(5) and NetworkManager.conf(5) sort by: an owner's file of the same name in /etc takes the place of these.
    private const string Links = "systemd/network/00-sbox-ghost.link", Manager = "NetworkManager/conf.d/90-sbox-ghost.conf";

    // Beside the address all is as in systemd's own 99-default.link, whose place it takes. Its "mac" among the names would be the old address.
    private const string LinksText =
        """
        # Written by sbox-root at each boot of a ghost; a file of this name in /etc/systemd/network takes its place.
        [Match]
        OriginalName=*

        [Link]
        NamePolicy=keep kernel database onboard slot path
        AlternativeNamesPolicy=database onboard slot path
        MACAddressPolicy=random

        """;

    private const string ManagerText =
        """
        # Written by sbox-root at each boot of a ghost; a file of this name in /etc/NetworkManager/conf.d takes its place.
        [device]
        wifi.scan-rand-mac-address=yes

        [connection]
        ethernet.cloned-mac-address=random
        wifi.cloned-mac-address=random
        ipv6.ip6-privacy=2

        """;

    public static void Take(RootStep.BeNobody step, string random = "/dev/urandom")
    {
        var bytes = new byte[16 + NameLength];
        using (FileStream source = File.OpenRead(random))
            source.ReadExactly(bytes);
        using (Dir etc = Dir.Open(step.Etc))
        {
            Replace(etc, MachineId, $"{Id(bytes)}\n", ForAll);
            Replace(etc, HostName, $"{Name(bytes.AsSpan(16))}\n");
        }

        using Dir run = Dir.Open(step.Run);
        foreach ((string file, string text) in (ReadOnlySpan<(string, string)>)[(Links, LinksText), (Manager, ManagerText)])
        {
            using Dir directory = run.MakeAndOpenDir(Path.GetDirectoryName(file)!);
            Replace(directory, Path.GetFileName(file), text);
        }
    }

    // As systemd makes one: a random UUID without dashes.
    private static string Id(Span<byte> bytes)
    {
        bytes[6] = (byte)((bytes[6] & 0x0F) | 0x40);
        bytes[8] = (byte)((bytes[8] & 0x3F) | 0x80);
        return Convert.ToHexStringLower(bytes[..16]);
    }

    // What many machines are called that nobody gave a name.
    private static string Name(ReadOnlySpan<byte> bytes)
    {
        var name = new StringBuilder("desktop-");
        foreach (byte each in bytes)
            name.Append(Letters[each % Letters.Length]);
        return name.ToString();
    }

    private static void Replace(Dir directory, string name, string text, uint mode = 0x1A4 /* 0644 */)
    {
        directory.TryUnlink(name);
        using SafeFileHandle file = directory.CreateFile(name, mode);
        Files.ChangeMode(file, mode, directory.Of(name));
        RandomAccess.Write(file, Encoding.ASCII.GetBytes(text), fileOffset: 0);
    }
}
