using System.Text;
using Sbox.Judges;

namespace Sbox.Boot.Tests;

/// <summary>The firmware's variables, in a plain directory that looks like efivarfs.</summary>
public sealed class LoaderVariablesTests : IDisposable
{
    private const string Vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-efivars-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void A_variable_is_read_as_the_kernel_gives_it()
    {
        Set("LoaderEntryDefault", "Debian-1.efi\0");
        Set("LoaderEntryOneShot", "");
        Set("LoaderDevicePartUUID", "3F2504E0-4F89-11D3-9A0C-0305E82C3301\0");
        var variables = new LoaderVariables(directory);
        Assert.Equal("Debian-1.efi", variables.EntryDefault);
        Assert.Null(variables.EntryOneShot);
        Assert.Null(variables.EntryLastBooted);
        Assert.Equal("3f2504e0-4f89-11d3-9a0c-0305e82c3301", variables.PartitionUuid);
    }

    [Fact]
    public void A_machine_without_UEFI_has_none_and_there_is_nothing_to_forget()
    {
        var variables = new LoaderVariables($"{directory}/missing");
        Assert.Null(variables.EntryDefault);
        variables.ForgetEntryDefault();
    }

    [Fact]
    public void An_immutable_variable_is_forgotten_and_its_neighbour_stays()
    {
        Set("LoaderEntryDefault", "a.efi\0");
        Set("LoaderEntryOneShot", "b.efi\0");
        Judge.OnPath("chattr").Run("+i", $"{directory}/LoaderEntryDefault-{Vendor}");
        var variables = new LoaderVariables(directory);
        variables.ForgetEntryDefault();
        variables.ForgetEntryDefault();
        Assert.Equal((null, "b.efi"), (variables.EntryDefault, variables.EntryOneShot));
        variables.ForgetEntryOneShot();
        Assert.Empty(Directory.GetFiles(directory));
    }

    private void Set(string name, string value) => File.WriteAllBytes($"{directory}/{name}-{Vendor}", [7, 0, 0, 0, .. Encoding.Unicode.GetBytes(value)]);
}
