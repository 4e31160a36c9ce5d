namespace Sbox.Linux;

/// <summary>Code that the running kernel takes in.</summary>
public static unsafe class KernelModules
{
    /// <summary>Loads a module; what it depends on must be there already.</summary>
    /// <param name="image">The whole .ko file, not compressed; a signature at its end is checked where the kernel asks for one.</param>
    /// <param name="name">What it is, for the error.</param>
    /// <param name="parameters">Its parameters, <c>NAME=VALUE</c> with spaces between them.</param>
    /// <returns>False when it is loaded already.</returns>
    /// <exception cref="LinuxException">Refused: ENODEV from a driver without its device, EPERM, EKEYREJECTED from a sealed kernel.</exception>
    public static bool Load(ReadOnlySpan<byte> image, string name, string parameters = "")
    {
        Errno errno;
        fixed (byte* bytes = image, options = CString.Of(parameters))
            errno = Answer.Of(LibC.init_module(bytes, (nuint)image.Length, options));
        return errno switch
        {
            Errno.None => true,
            Errno.EEXIST => false,
            _ => throw new LinuxException(errno, "init_module", name),
        };
    }
}
