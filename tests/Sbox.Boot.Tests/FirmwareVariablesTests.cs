using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

/// <summary>Variables of a firmware, in a plain directory that looks like efivarfs.</summary>
public sealed class FirmwareVariablesTests : IDisposable
{
    private const string First = "One-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", Second = "OneMore-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-efivars-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void A_value_is_written_behind_its_attributes_and_read_without_them()
    {
        var variables = new FirmwareVariables(directory);
        variables.Write(First, FirmwareVariables.NonVolatileBootAndRuntime, [1, 2]);
        Assert.Equal([7, 0, 0, 0, 1, 2], File.ReadAllBytes($"{directory}/{First}"));
        Assert.Equal([1, 2], variables.Read(First)!);
        Assert.Null(variables.Read(Second));
        File.WriteAllBytes($"{directory}/{Second}", [7, 0, 0, 0]);
        Assert.Null(variables.Read(Second));
        Assert.Equal([First, Second], variables.Named("One").Order(StringComparer.Ordinal));
        Assert.Equal([Second], variables.Named("OneM"));
    }

    [Fact]
    public void One_that_efivarfs_made_immutable_can_be_written_hidden_and_forgotten()
    {
        var variables = new FirmwareVariables(directory);
        foreach (Action change in (Action[])[() => variables.Write(First, 7, [3]), () => Assert.True(variables.Hide(First)), () => variables.Forget(First)])
        {
            File.WriteAllBytes($"{directory}/{First}", [7, 0, 0, 0, 1]);
            Judge.OnPath("chattr").Run("+i", $"{directory}/{First}");
            change();
        }

        Assert.Empty(Directory.GetFiles(directory));
    }

    [Fact]
    public void A_machine_without_them_has_none_and_nothing_to_forget()
    {
        var variables = new FirmwareVariables($"{directory}/missing");
        Assert.False(variables.AreThere);
        Assert.Null(variables.Read(First));
        Assert.Empty(variables.Named("One"));
        Assert.False(variables.Hide(First));
        variables.Forget(First);
    }

    [Fact]
    public void A_firmware_whose_memory_is_full_says_so_and_not_that_root_is_needed()
    {
        LinuxException refused = Assert.Throws<LinuxException>(static () => new FirmwareVariables("/dev").Write("full", 7, [1]));
        Assert.Equal((Errno.ENOSPC, "write", "/dev/full"), (refused.Errno, refused.Call, refused.Path));
    }
}
