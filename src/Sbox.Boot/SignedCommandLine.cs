namespace Sbox.Boot;

/// <summary>
/// The command lines that a sealed UKI was signed with, one a line, in an initrd of its own within it. What runs must be one of them: systemd's
/// stub adds what SMBIOS strings of the machine (or of its hypervisor) ask for even where the firmware checks signatures.
/// </summary>
public static class SignedCommandLine
{
    /// <summary>The file in the initrd, without a slash in front.</summary>
    public const string Path = "etc/sbox/command-lines";

    /// <summary>The file's text.</summary>
    public static string Text(IEnumerable<string> lines) => string.Concat(lines.Select(static line => $"{line}\n"));

    /// <summary>Refuses a command line that is none of the signed ones.</summary>
    /// <param name="running">What /proc/cmdline says.</param>
    /// <param name="text">The file's text; null where the initrd has none: nothing is signed then.</param>
    /// <exception cref="NoRootException">It is none of them; the message names what is too much.</exception>
    public static void Check(string running, string? text)
    {
        if (text is null)
            return;
        string[] lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        KernelArguments found = KernelArguments.Parse(running);
        if (lines.Any(line => KernelArguments.Parse(line).Equals(found)))
            return;
        HashSet<string> known = [.. lines.SelectMany(static line => KernelArguments.Parse(line)).Select(static argument => argument.Text)];
        string[] strange = [.. found.Select(static argument => argument.Text).Where(argument => !known.Contains(argument))];
        throw new NoRootException(strange.Length > 0
            ? $"'{string.Join(' ', strange)}' is on the kernel command line, and not on the signed one: something between firmware and kernel put it there (an SMBIOS string of the machine?)"
            : "the kernel command line is not the signed one, though every argument of it is: something between firmware and kernel changed it");
    }
}
