using System.Diagnostics;

namespace Sbox.Judges;

/// <summary>
/// An image of an ext4, mounted read-only and as it lies there, in a mount namespace of its own: a namespace that another test makes meanwhile would have a copy of a mount that it can see, and
/// hold the loop device for as long as it lives.
/// </summary>
public sealed class ImageMount : IDisposable
{
    private readonly Process holder;
    private readonly string image;

    /// <summary>Mounts it.</summary>
    /// <param name="image">The image.</param>
    /// <param name="at">An empty directory to mount it at, in the namespace.</param>
    /// <exception cref="InvalidOperationException">It cannot be mounted; the message has mount's words.</exception>
    public ImageMount(string image, string at)
    {
        this.image = image;
        var start = new ProcessStartInfo("unshare") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in (string[])["--mount", "sh", "-c", "mount -o loop,ro,noload -t ext4 \"$1\" \"$2\" && echo mounted && read -r _", "sh", image, at])
            start.ArgumentList.Add(word);
        holder = Process.Start(start)!;
        if (holder.StandardOutput.ReadLine() is null)
        {
            string said = holder.StandardError.ReadToEnd();
            holder.Dispose();
            throw new InvalidOperationException($"{image}: {said}");
        }

        Path = $"/proc/{holder.Id}/root{at}";
    }

    /// <summary>Where its files are.</summary>
    public string Path { get; }

    /// <summary>Ends the namespace, and waits for the kernel to let go of the loop device: mount would take it again, with what it remembers of a file that was written to since.</summary>
    public void Dispose()
    {
        holder.StandardInput.Close();
        holder.WaitForExit();
        holder.Dispose();
        Unmounting.AwaitNoLoop(image);
    }
}
