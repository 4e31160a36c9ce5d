namespace Sbox.Sysroot.Tests;

/// <summary>Which entry systemd-boot starts, by what its source says.</summary>
public sealed class BootChoiceTests
{
    private static readonly string[] Two = ["debian-1.efi", "debian-2.efi"];

    [Fact]
    public void Without_variables_loader_conf_decides() => Assert.Equal(new BootChoice("debian-1.efi", null, null, null), Choice(configured: "debian-1.efi"));

    [Theory]
    [InlineData("Debian-2.EFI", "debian-2.efi")] // both are folded
    [InlineData("*-2*", "debian-2.efi")]
    [InlineData("debian-?.efi", null)] // several fit: the first of the menu, which is not made again here
    [InlineData("debian-[12].efi", null)]
    [InlineData("auto-windows", null)] // systemd-boot makes it up, where there is one
    [InlineData("@saved", "debian-2.efi")]
    public void The_firmwares_default_comes_first(string variable, string? entry) =>
        Assert.Equal(new BootChoice(entry, null, variable, null), Choice(configured: "debian-1.efi", variable: variable, lastBooted: "debian-2.efi"));

    [Theory, InlineData("gone.efi"), InlineData("debian-2"), InlineData("@saved")]
    public void A_default_that_fits_nothing_is_passed_over(string variable) =>
        Assert.Equal(new BootChoice("debian-1.efi", null, null, null), Choice(configured: "debian-1.efi", variable: variable));

    [Fact]
    public void A_one_shot_is_told_apart_from_what_boots_after_it() =>
        Assert.Equal(new BootChoice("debian-1.efi", "debian-2.efi", null, "debian-2.efi"), Choice(configured: "debian-1.efi", oneShot: "debian-2.efi"));

    [Fact]
    public void A_profile_is_an_entry_of_its_own_and_the_files_first_one_has_none()
    {
        string[] entries = ["debian-1.efi", "debian-1.efi@ghost", "debian-1.efi@rescue", "debian-2.efi", "debian-2.efi@ghost"];
        Assert.Equal(new BootChoice("debian-1.efi", "debian-2.efi@ghost", null, "debian-2.efi@ghost"), BootChoice.Of(entries, "debian-1.efi", null, "debian-2.efi@ghost", null));
        Assert.Equal("debian-1.efi", BootChoice.Of(entries, "debian-1*", null, null, null).Entry);
        Assert.Null(BootChoice.Of(entries, "*@ghost", null, null, null).Entry); // of two files
        Assert.Equal("debian-1.efi", BootChoice.Of(entries[..3], null, null, null, null).Entry);
    }

    [Fact]
    public void Where_nothing_is_named_only_a_lone_entry_is_known()
    {
        Assert.Null(Choice().Entry);
        Assert.Equal("debian-1.efi", BootChoice.Of(Two[..1], null, null, null, null).Entry);
    }

    private static BootChoice Choice(string? configured = null, string? variable = null, string? oneShot = null, string? lastBooted = null) =>
        BootChoice.Of(Two, configured, variable, oneShot, lastBooted);
}
