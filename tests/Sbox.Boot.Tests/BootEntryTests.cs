using Sbox.Codecs;

namespace Sbox.Boot.Tests;

public sealed class BootEntryTests
{
    // The file that libostree 2022.7 wrote for a deployment; RealOstreeTests makes such files anew.
    private const string Entry = """
        title Debian GNU/Linux 13 (ostree:0)
        version 1
        options root=LABEL=sbox-root ostree=/ostree/boot.0/debian/aa/0
        linux /ostree/debian-aa/vmlinuz-6.12
        initrd /ostree/debian-aa/initramfs-6.12.img

        """;

    [Fact]
    public void An_entry_reads_and_prints_as_it_was() => Assert.Equal(Entry, BootEntry.Parse(Entry).ToString());

    [Fact]
    public void Its_parts_have_names()
    {
        BootEntry entry = BootEntry.Parse(Entry);
        Assert.Equal("Debian GNU/Linux 13 (ostree:0)", entry.Title);
        Assert.Equal("1", entry.Version);
        Assert.Equal("LABEL=sbox-root", entry.Options.Get("root"));
        Assert.Equal("/ostree/debian-aa/vmlinuz-6.12", entry.Linux);
        Assert.Equal(["/ostree/debian-aa/initramfs-6.12.img"], entry.Initrds);
    }

    [Fact]
    public void Unknown_keys_are_kept_and_follow_the_known_ones() =>
        Assert.Equal("title a\nlinux /k\nmachine-id 1\nsort-key z\n", BootEntry.Parse("# note\nmachine-id 1\nsort-key\tz\n\nlinux   /k\ntitle a").ToString());

    [Fact]
    public void Several_initrds_stay_in_their_order() =>
        Assert.Equal(["/a", "/b"], BootEntry.Parse("initrd /a\nlinux /k\ninitrd /b\n").Initrds);

    [Fact]
    public void Changing_the_options_leaves_all_else()
    {
        BootEntry changed = BootEntry.Parse(Entry) is var entry ? entry.With(entry.Options.Append("quiet")) : null!;
        Assert.Equal(Entry.Replace("aa/0", "aa/0 quiet", StringComparison.Ordinal), changed.ToString());
        Assert.Equal("title x\nversion 2\n", BootEntry.Empty.With("version", "2").With("title", "x").ToString());
        Assert.Null(entry.Without("version").Version);
    }

    [Fact]
    public void A_key_without_a_value_names_its_line()
    {
        var malformed = Assert.Throws<MalformedException>(static () => BootEntry.Parse("title a\nlinux"));
        Assert.Equal("line 2", malformed.Part);
    }
}
