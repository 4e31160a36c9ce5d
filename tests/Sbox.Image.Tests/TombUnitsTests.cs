namespace Sbox.Image.Tests;

/// <summary>What opens a user's tomb at login, in the files of PAM.</summary>
public sealed class TombUnitsTests
{
    private static readonly string[] Lines = ["auth     optional  a", "session  optional  b"];

    [Fact]
    public void The_password_is_taken_after_it_was_asked_for_and_the_session_ends_last()
    {
        const string login = "auth requisite pam_nologin.so\n@include common-auth\nauth optional pam_group.so\n@include common-session\n";
        Assert.Equal(
            "auth requisite pam_nologin.so\n@include common-auth\nauth     optional  a\nauth optional pam_group.so\n@include common-session\nsession  optional  b\n", TombUnits.WithLines(login, Lines));
    }

    [Fact]
    public void Lines_that_are_there_are_not_added_again()
    {
        string once = TombUnits.WithLines("@include common-auth\n", Lines);
        Assert.Equal(once, TombUnits.WithLines(once, Lines));
    }

    [Fact]
    public void A_box_gets_the_units_the_helper_of_mount_and_the_lines_of_PAM_for_what_is_there_to_log_in_through()
    {
        string directory = Directory.CreateTempSubdirectory("sbox-tomb-units-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(directory, "etc/pam.d"));
            File.WriteAllText(Path.Combine(directory, "etc/pam.d/login"), "@include common-auth\n@include common-session\n");
            using var tree = new TreeRoot(directory);
            TombUnits.InstallInto(tree, Judges.SourceTree.Of("packaging", "tomb"));
            Assert.Contains("expose_authtok /usr/bin/sbox tomb pam", tree.ReadText("etc/pam.d/login"), StringComparison.Ordinal);
            Assert.False(tree.Exists("etc/pam.d/sshd"));
            Assert.Contains("open --user %i --name %i --unit", tree.ReadText("usr/lib/systemd/system/sbox-tomb@.service"), StringComparison.Ordinal);
            Assert.Equal("../bin/sbox", tree.Dir.ReadLink("usr/sbin/mount.sbox-tomb"));
            Assert.Equal("../sbox-tomb-sleep.service", tree.Dir.ReadLink("usr/lib/systemd/system/sleep.target.wants/sbox-tomb-sleep.service"));
            Assert.True(tree.Exists("usr/lib/systemd/user/default.target.wants/sbox-tomb-ready.target"));
            Assert.Equal(TombUnits.Files(Judges.SourceTree.Of("packaging", "tomb")), TombUnits.Files(Path.Combine(directory, TombUnits.InTree)));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
