namespace Sbox.Judges;

/// <summary>
/// A program that a test writes, and that is started at once. Another process writes it: while this one has it open for writing, any child that a test beside it starts has it
/// open too, until that child's execve, and the kernel refuses to start what somebody writes (ETXTBSY).
/// </summary>
public static class Script
{
    /// <summary>Writes a program for <c>/bin/sh</c>, mode 0755; it takes the place of one that is there.</summary>
    /// <param name="path">Where; its directory is there.</param>
    /// <param name="text">Its lines, without the first.</param>
    /// <returns>The path.</returns>
    /// <exception cref="InvalidOperationException">It could not be written; the message has the shell's words.</exception>
    public static string Write(string path, string text)
    {
        Verdict verdict = Judge.OnPath("/bin/sh").Ask(null, $"#!/bin/sh\n{text}\n", ["-c", "rm -f \"$0\" && cat >\"$0\" && chmod 755 \"$0\"", path]);
        return verdict.ExitCode == 0 ? path : throw new InvalidOperationException($"{path}: not written: {verdict.Error}");
    }
}
