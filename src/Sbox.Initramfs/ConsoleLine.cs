/// <summary>A line of the first program for whoever looks at the machine. It never fails: a console that is not there must not end a boot.</summary>
internal static class ConsoleLine
{
    // By the kernel's log it is on every console, the serial one and the screen, and in the journal later. Without a line feed at its end the
    // kernel would keep it back until the next message.
    private const string KernelLog = "/dev/kmsg", Error = "<3>";

    public static void Say(string line)
    {
        if (!TryWrite(static text => File.WriteAllText(KernelLog, Error + text), line))
            TryWrite(Console.Error.Write, line);
    }

    private static bool TryWrite(Action<string> write, string line)
    {
        try
        {
            write($"sbox-root: {line}\n");
            return true;
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
