/** Why a file cannot be read as invoices: what a person gave instead, and what to do about it. */
import { TidemarkError } from '#tidemark'

/** What the first bytes of files say that are often given in place of a CSV. */
const KINDS: readonly (readonly [begin: readonly number[], what: string, hint: string])[] = [
  [[0x50, 0x4b, 0x03, 0x04], 'a zip archive, or a workbook of Excel, which is one', 'Unpack it, or save the sheet as CSV (UTF-8).'],
  [[0xff, 0xfe], 'text in UTF-16', 'Write it as UTF-8: iconv -f UTF-16 -t UTF-8 invoices.csv > utf8.csv'],
  [[0xfe, 0xff], 'text in UTF-16', 'Write it as UTF-8: iconv -f UTF-16 -t UTF-8 invoices.csv > utf8.csv'],
]

/**
 * The error for a file that is something else altogether, as its first bytes tell; undefined where they may be those of a CSV.
 * @param begin what it begins with, unpacked: some hundred bytes
 */
export function foreignKind(file: string, begin: Buffer): TidemarkError | undefined {
  const kind = KINDS.find(([bytes]) => bytes.every((byte, i) => begin[i] === byte))
  if (kind === undefined) return undefined
  const [, what, hint] = kind
  return new TidemarkError('INPUT_INVALID', 'the file is no CSV of invoices', { detail: `${file} is ${what}.`, hint })
}

/** The error for a file whose first line does not name the columns. @param found what is there instead, in words */
export function noInvoices(file: string, begin: Buffer, found: string, header: string): TidemarkError {
  // Text has no zeros. What a parser for text has to say about other bytes helps nobody.
  const zero = begin.indexOf(0)
  return new TidemarkError('INPUT_INVALID', 'the file is no CSV of invoices', {
    detail: zero < 0 ? `${file}: ${found}.` : `${file} is binary: its byte ${zero} is 0, which no text has.`,
    hint: `Its first line must be ${header}`,
  })
}

/** The error for a file that the system or the decompressor would not read. */
export function unreadable(file: string, cause: unknown): TidemarkError {
  const { code, message } = cause as { readonly code?: string; readonly message: string }
  const [sentence, detail, hint] = whyNot(file, code, message)
  return new TidemarkError('INPUT_INVALID', sentence, { detail, hint, cause })
}

function whyNot(file: string, code: string | undefined, message: string): [sentence: string, detail: string, hint: string] {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return ['there is no such file of invoices', `${file} does not exist.`, 'Give a CSV file, plain or gzip: --csv invoices.csv.']
    case 'EISDIR':
      return ['the invoices are a folder', `${file} is no file.`, 'Name the file in it: --csv folder/invoices.csv.']
    case 'EACCES':
    case 'EPERM':
      return ['the invoices may not be read', `${file}: ${message}.`, 'Give this user the right to read the file.']
    case 'Z_BUF_ERROR':
      return [
        'the gzip of the invoices ends too early',
        `${file} ends in the middle of what it has packed.`,
        'Copy or fetch it again, whole: "gzip -t" tells whether it is.',
      ]
    case 'Z_DATA_ERROR':
      return [
        'the gzip of the invoices is damaged',
        `${file} cannot be unpacked: ${message}.`,
        'Copy or fetch it again: "gzip -t" tells whether it is as it was packed.',
      ]
    default:
      return ['the invoices cannot be read', `${file}: ${message}.`, 'Give a CSV file, plain or gzip: --csv invoices.csv.']
  }
}
